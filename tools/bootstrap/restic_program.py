"""restic, which encrypts and stores backups: the program on PATH, else a build of its Go module."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import SetupError, log_message, step
from tools.bootstrap.environment import parse_version, program_version
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.go_toolchain import toolchain
from tools.bootstrap.process import run_visible

SOURCE = paths.PROJECT / "tools" / "bootstrap" / "restic"
COMMAND = "github.com/restic/restic/cmd/restic"


def restic_program() -> Path:
    """Return the path of restic; build it where it is missing.

    Raises:
        SetupError: restic is missing, and its modules cannot be downloaded.
    """
    versions = paths.pinned_versions()["restic"]
    built = paths.tool_directory("restic", versions["version"])
    for found in (shutil.which("restic"), built / "restic"):
        if found and program_version([found, "version"]) >= parse_version(versions["minimum"]):
            return Path(found)
    with file_lock(paths.cache_directory() / "restic.lock", "Waiting for another build of restic to finish."):
        if not built.exists():
            log_message("restic is not on PATH. To skip this build, install it: apt-get install restic")
            _build(built)
    return built / "restic"


def _build(target: Path) -> None:
    with (
        tempfile.TemporaryDirectory(dir=paths.cache_directory()) as scratch,
        atomic_install(target) as partial,
        step("Building restic from its Go module, which takes some minutes"),
    ):
        go, environment = toolchain(SOURCE, Path(scratch))
        run_visible(
            [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", partial / "restic", COMMAND],
            log=paths.cache_directory() / "logs" / "restic-build.log",
            cwd=SOURCE,
            env=environment,
        )
        if not program_version([partial / "restic", "version"]):
            raise SetupError("the built restic does not run on this computer")


def restic_cache() -> Path:
    """Return the folder in which restic keeps what it has read of repositories, encrypted."""
    return paths.cache_directory() / "restic"
