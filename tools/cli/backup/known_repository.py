"""The repository that a stack had at its target, so that no new one takes its place unnoticed."""

from __future__ import annotations

import json

from tools.cli.backup.errors import BackupError
from tools.cli.backup.records import record_file
from tools.cli.backup.restic_repository import BackupRepository


def open_repository(repository: BackupRepository, stack: str) -> None:
    """Open the repository of a stack, or create it for the first backup, and remember its id on this computer.

    Raises:
        BackupError: the stack had another repository at this address, as if a disk was not mounted.
    """
    file = record_file(stack, "repository")
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    found = repository.identifier()
    if known.get("address") == repository.address and found != known["id"]:
        fault = "no backups any more" if found is None else "other backups than before"
        raise BackupError(
            f"{repository.names.target}: {repository.address} has {fault}. Is the disk mounted, and is it the right "
            f"one? To begin a new one there, delete {file}"
        )
    if found is None:
        repository.create()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"address": repository.address, "id": found or repository.identifier()}))
