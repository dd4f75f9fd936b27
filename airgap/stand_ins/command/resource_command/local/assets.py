"""Files that a command has written, as assets and as an archive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from airgap.stand_ins.command.resource_command.errors import OperationFailed
from airgap.stand_ins.command.resource_command.local.globs import select_files
from airgap.stand_ins.protocol.property_values import ARCHIVE, ASSET, Asset


def assets_of(directory: Path, globs: list[str]) -> dict[str, Asset]:
    """Return the files under `directory` that `globs` select, by their path in it."""
    try:
        paths = sorted(select_files(_files(directory), globs))
        return {path: _asset(directory / path) for path in paths}
    except OSError as error:
        raise OperationFailed(f"{error.filename}: {error.strerror}") from error


def archive_of(directory: Path, globs: list[str]) -> Asset:
    """Return an archive of the files under `directory` that `globs` select."""
    assets = assets_of(directory, globs)
    digest = hashlib.sha256(repr([(path, asset.hash) for path, asset in assets.items()]).encode()).hexdigest()
    return Asset(ARCHIVE, {"assets": dict(assets), "hash": digest})


def _files(directory: Path) -> Iterator[str]:
    """Yield the relative paths of all files in a folder, without following links."""
    for folder, folders, names in os.walk(directory, onerror=_raise):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in names + links:
            yield Path(folder, name).relative_to(directory).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _asset(path: Path) -> Asset:
    with path.open("rb") as file:
        return Asset(ASSET, {"path": str(path), "hash": hashlib.file_digest(file, "sha256").hexdigest()})
