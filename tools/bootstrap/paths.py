"""The folder of everything that this project installs or writes, and how a tool gets there whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.bootstrap.console import say

PROJECT = Path(__file__).resolve().parents[2]


def directory() -> Path:
    """The cache folder, by an absolute path: `settings.paths.cache_directory` for a Python that has no packages."""
    if own := os.environ.get("MLPLATFORM_CACHE"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mlplatform"


def tool(name: str, version: str) -> Path:
    """Where this version of a tool is installed, or will be."""
    return directory() / "tools" / f"{name}-{version}"


def versions() -> dict[str, Any]:
    """The content of versions.toml."""
    return tomllib.loads((PROJECT / "versions.toml").read_text())


@contextmanager
def locked(file: Path, waiting: str) -> Iterator[None]:
    """Let one at a time do what `file` stands for. The lock ends with the process that holds it, however that ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(waiting)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def installing(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of `target` when the block ends well, and is gone when it does not."""
    partial = target.with_name(f".{target.name}.partial")
    outdated = target.with_name(f".{target.name}.outdated")
    for leftover in (partial, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if target.exists():
        target.rename(outdated)
    partial.rename(target)
    shutil.rmtree(outdated, ignore_errors=True)
