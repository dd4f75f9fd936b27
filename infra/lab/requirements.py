"""Requirements that this computer must meet for machines inside it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pulumi

from infra.errors import UserError

INOTIFY_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_INSTANCES_PER_MACHINE = 20
"""Instances of systemd, kubelet and the cluster's controllers, counted on three machines. All machines share the limit
of the user root."""


def require_inotify_instances(machines: int) -> None:
    """Check the kernel's limit of inotify instances, without which kubelet exits at its start.

    Raises:
        RunError: the limit is too low for that many machines.
    """
    if not INOTIFY_LIMIT.exists():
        return
    limit, needed = int(INOTIFY_LIMIT.read_text()), machines * INOTIFY_INSTANCES_PER_MACHINE
    if limit < needed:
        setting = ".".join(INOTIFY_LIMIT.parts[3:])
        raise pulumi.RunError(
            f"infra:lab.size: {machines} machines need about {needed} inotify instances, and this computer's limit is "
            f"{limit}: raise it (`sysctl -w {setting}={2 * needed}`), or set fewer machines"
        )


def require_root() -> None:
    """Check that this process is root. Other users cannot see machines and links, which would look deleted.

    Raises:
        UserError: it is not.
    """
    if os.geteuid() != 0:
        raise UserError("infra:machines: lab: machines inside this computer need root: run it with sudo")


def require_root_and_tools() -> None:
    """Check that this process is root and that the programs for machines are installed.

    Raises:
        UserError: it is not root, or a program is missing; with the package that has it.
    """
    from airgap.bundle.build_requirements import require_programs
    from tools.bootstrap.console import SetupError

    require_root()
    try:
        require_programs({"runc": "runc", "ip": "iproute2", "mmdebstrap": "mmdebstrap"})
    except SetupError as error:
        raise UserError(f"infra:machines: lab: {error}") from None
    if not shutil.which("unshare"):
        raise UserError("infra:machines: lab: the program unshare is missing: install the package util-linux")
