"""Installation of a folder or a file as a whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_install(target: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `target` when the block succeeds and is removed when it raises."""
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


def replace_file(file: Path, text: str) -> None:
    """Write a text to a file, and create its folder. A kill or a full disk leaves the file as it was."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}.", delete=False) as partial:
        try:
            partial.write(text)
            partial.flush()
        except BaseException:
            Path(partial.name).unlink()
            raise
    Path(partial.name).replace(file)
