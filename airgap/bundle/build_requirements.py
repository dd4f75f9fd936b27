"""Requirements of a build: Debian packages that are installed by root, and named in an error otherwise."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress

from tools.bootstrap.console import SetupError, log_message
from tools.bootstrap.process import capture

BUILDS_C = {"gcc": "gcc", "patch": "patch"}
BUILDS_IMAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "setcap": "libcap2-bin"}
MOVES_IMAGES = {"skopeo": "skopeo"}
"""Programs, and the packages that have them."""
LOCK_SECONDS = 300


def require_programs(programs: dict[str, str], packages: Iterable[str] = ()) -> None:
    """Install missing programs and packages.

    Args:
        programs: the package of each program.
        packages: further packages.

    Raises:
        SetupError: a package is missing and cannot be installed; with the command that installs it.
    """
    missing = {package for program, package in programs.items() if shutil.which(program) is None}
    missing |= {package for package in packages if not _installed(package)}
    if not missing:
        return
    # Another apt process may hold the lock: the machine's own updates, or another resource of the same `up`.
    lock_timeout = ["-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
    command = ["apt-get", "install", *lock_timeout, "--yes", "--no-install-recommends", *sorted(missing)]
    if shutil.which("apt-get") is None:
        raise SetupError(
            f"Required packages are missing: {', '.join(sorted(missing))}. Install your distribution's equivalents."
        )
    if os.geteuid() != 0:
        raise SetupError(f"Required packages are missing. Install them: sudo {' '.join(command)}")
    log_message(f"Installing {', '.join(sorted(missing))} (apt-get) ...")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        capture(command, env=environment)
    except SetupError:
        # Package lists may be missing or outdated -> update them and retry.
        with suppress(SetupError):
            capture(["apt-get", "update"], env=environment)
        try:
            capture(command, env=environment)
        except SetupError as error:
            raise SetupError(f"`{' '.join(command)}` failed:\n{error}") from None


def require_root_for(action: str) -> None:
    """Raise SetupError unless the user is root."""
    if os.geteuid() != 0:
        raise SetupError(f"{action} needs root: mmdebstrap and buildah change owners and roots. Run it with sudo.")


def _installed(package: str) -> bool:
    try:
        return capture(["dpkg-query", "-W", "-f", "${db:Status-Status}", package]) == "installed"
    except SetupError:
        return False
