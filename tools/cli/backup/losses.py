"""Data that the last backup of a stack has, and of which the stack has nothing any more."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tools.cli.backup.contents.bucket_copy import OBJECTS
from tools.cli.backup.errors import BackupError
from tools.cli.backup.fingerprint import KINDS
from tools.cli.backup.restic_repository import DATA, BackupRepository, SavedStack

MANIFEST = "manifest.json"
"""File of a backup with its time, the fingerprint of the stack and the numbers of objects."""
PREDICTIONS = "predictions"


def require_no_loss(repository: BackupRepository, stack: SavedStack, found: Mapping[str, Any]) -> None:
    """Require that a stack still has something of each kind of data in its last backup.

    The backup after a loss would become the newest one, which a restore takes.

    Args:
        repository: the repository with the last backup.
        stack: the stack.
        found: the fingerprint of the stack, and the numbers of objects.

    Raises:
        BackupError: the stack has nothing of a kind any more, or the last backup cannot be read.
    """
    last = repository.newest(stack, DATA)
    if last is None:
        return
    manifest = json.loads(repository.read_file(last, MANIFEST))
    if lost := list(lost_kinds(manifest, found)):
        raise BackupError(
            f"the stack {stack.name} has nothing left of what its last backup of {last.time:%Y-%m-%d %H:%M} UTC has: "
            f"{', '.join(lost)}. If they are lost, run `make restore STACK={stack.name}`. If you have deleted them, "
            f"run `make backup STACK={stack.name} ARGS=--accept-loss` once"
        )


def lost_kinds(last: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the number and the name of each kind of data that the last backup has, and `found` has not."""
    for kind in KINDS:
        if kind != PREDICTIONS and last.get(kind) and found.get(kind) == {}:
            yield f"{len(last[kind])} {kind}"
    for folder, count in found[OBJECTS].items():
        if (before := last.get(OBJECTS, {}).get(folder, 0)) and not count:
            yield f"{before} objects in {folder}"
