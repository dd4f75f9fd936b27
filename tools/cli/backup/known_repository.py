"""The repository that a stack had at its target, so that no new one takes its place unnoticed."""

from __future__ import annotations

from tools.cli.backup.errors import BackupError
from tools.cli.backup.records import read_record, record_file, write_record
from tools.cli.backup.restic_repository import BackupRepository


def open_repository(repository: BackupRepository, stack: str) -> None:
    """Open the repository of a stack, or create it for the first backup, and remember its id on this computer.

    Raises:
        BackupError: the stack had another repository at this address, as if a disk was not mounted; or this computer
            cannot remember it.
    """
    file = record_file(stack, "repository")
    known = read_record(file, "address", "id")
    found = repository.identifier()
    if known.get("address") == repository.address and found != known["id"]:
        fault = "no backups any more" if found is None else "other backups than before"
        raise BackupError(
            f"{repository.names.target}: {repository.address} has {fault}. Is the disk mounted, and is it the right "
            f"one? To begin a new one there, delete {file}"
        )
    if found is None:
        repository.create()
    write_record(file, {"address": repository.address, "id": str(found or repository.identifier())})
