"""The Debian packages that building takes: looked for first, installed where that is allowed, else named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable

from airgap.bundle.errors import BundleError
from tools.bootstrap.console import log_message

BUILDS_C = {"gcc": "gcc", "patch": "patch"}
BUILDS_IMAGES = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "setcap": "libcap2-bin"}
MOVES_IMAGES = {"skopeo": "skopeo"}
"""Programs, and the packages that have them."""
LOCK_SECONDS = 300


def require(programs: dict[str, str], packages: Iterable[str] = ()) -> None:
    """See to it that these programs and packages are there.

    Raises:
        BundleError: some are not and cannot be installed; with the command that installs them.
    """
    missing = {package for program, package in programs.items() if shutil.which(program) is None}
    missing |= {package for package in packages if not _installed(package)}
    if not missing:
        return
    # Another one may be at work: that of the machine itself, or of another resource of the same `up`.
    patience = ["-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"]
    command = ["apt-get", "install", *patience, "--yes", "--no-install-recommends", *sorted(missing)]
    if shutil.which("apt-get") is None:
        raise BundleError(f"This takes {', '.join(sorted(missing))}; install what your distribution calls them.")
    if os.geteuid() != 0:
        raise BundleError(f"Packages are missing here. Install them first: sudo {' '.join(command)}")
    log_message(f"Installing {', '.join(sorted(missing))} (apt-get) ...")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    finished = _apt(command, environment)
    if finished.returncode:
        # Without package lists, or with old ones, apt does not find them.
        _apt(["apt-get", "update"], environment)
        finished = _apt(command, environment)
    if finished.returncode:
        raise BundleError(f"`{' '.join(command)}` failed:\n{finished.stdout.strip()[-1500:]}")


def require_root(for_what: str) -> None:
    """Raise BundleError if this is not root."""
    if os.geteuid() != 0:
        raise BundleError(f"{for_what} takes root: mmdebstrap and buildah change owners and roots. Run it with sudo.")


def _installed(package: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status}", package]
    return subprocess.run(query, capture_output=True, text=True).stdout == "installed"


def _apt(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
