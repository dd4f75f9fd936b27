"""The files that a command leaves behind, as assets and as an archive of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from .errors import Failed
from .globs import select
from .values import ARCHIVE, ASSET, Asset


def assets_of(directory: Path, globs: list[str]) -> dict[str, Asset]:
    """The files under `directory` that `globs` select, by their path in it."""
    try:
        found = sorted(select(_files(directory), globs))
        return {path: _asset(directory / path) for path in found}
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from error


def archive_of(directory: Path, globs: list[str]) -> Asset:
    """An archive of the files under `directory` that `globs` select."""
    assets = assets_of(directory, globs)
    digest = hashlib.sha256(repr([(path, asset.hash) for path, asset in assets.items()]).encode()).hexdigest()
    return Asset(ARCHIVE, {"assets": dict(assets), "hash": digest})


def _files(directory: Path) -> Iterator[str]:
    """Paths of all files in it, without leading `./`. Links are not followed."""
    for folder, folders, names in os.walk(directory, onerror=_raise):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in names + links:
            yield Path(folder, name).relative_to(directory).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _asset(path: Path) -> Asset:
    with path.open("rb") as file:
        return Asset(ASSET, {"path": str(path), "hash": hashlib.file_digest(file, "sha256").hexdigest()})
