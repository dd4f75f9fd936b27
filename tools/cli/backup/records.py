"""Times of the last successful backup and drill of a stack, for `make status` and for the alerts of its cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlplatform.monitoring.scraping import NAMESPACE

from tools.bootstrap.atomic_install import replace_file
from tools.bootstrap.console import log_message
from tools.bootstrap.file_lock import LockIsHeld, file_lock
from tools.bootstrap.paths import cache_directory
from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import apply_manifest

BACKUP, DRILL = "backup", "drill"
OVERDUE = {BACKUP: timedelta(days=2), DRILL: timedelta(days=31)}
"""Age from which a record is reported as overdue."""


def record_file(stack: str, kind: str) -> Path:
    """Return the file with the last success. It is not in the stack's data: `make down` leaves no such file there."""
    return cache_directory() / "backups" / f"{stack}.{kind}.json"


@contextmanager
def stack_lock(stack: str) -> Iterator[None]:
    """Keep other backups and restores of a stack away for the block: they have the same folders.

    Raises:
        BackupError: another one is running.
    """
    try:
        with file_lock(record_file(stack, BACKUP).with_suffix(".lock")):
            yield
    except LockIsHeld:
        raise BackupError(f"another backup or restore of the stack {stack} is running; wait for its end") from None


def record_success(stack: str, kind: str) -> None:
    """Record that a backup or a drill has succeeded now.

    Raises:
        BackupError: the record cannot be written.
    """
    write_record(record_file(stack, kind), {"time": datetime.now(UTC).isoformat()})


def write_record(file: Path, record: Mapping[str, str]) -> None:
    """Replace the record in a file.

    Raises:
        BackupError: it cannot be written, as on a full disk.
    """
    try:
        replace_file(file, json.dumps(record))
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror}; repair the cause and try again") from None


def read_record(file: Path, *names: str) -> dict[str, str]:
    """Return the record in a file, which has these names; {} without a record, or with one that is invalid."""
    try:
        found = json.loads(file.read_text())
        if not set(names) <= found.keys():
            raise ValueError
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError):
        log_message(f"{file} is no valid record, and is ignored; the next success replaces it")
        return {}
    return dict(found)


def renew_lease(kubeconfig: str, kind: str) -> None:
    """Record in the cluster that a backup or a drill has succeeded now: its alerts read the time of this lease."""
    apply_manifest(
        kubeconfig,
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": kind, "namespace": NAMESPACE},
            "spec": {"holderIdentity": f"make-{kind}", "renewTime": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"},
        },
    )


def backup_lines(stack: str) -> Iterator[str]:
    """Yield a line on the last backup and one on the last drill, as this computer has recorded them."""
    for kind, limit in OVERDUE.items():
        record = read_record(record_file(stack, kind), "time")
        if not record:
            yield f"  {kind}: none from this computer yet: run `make {kind} STACK={stack}`"
            continue
        time = datetime.fromisoformat(record["time"])
        age = datetime.now(UTC) - time
        overdue = f", overdue: run `make {kind} STACK={stack}`" if age > limit else ""
        yield f"  {kind}: {time:%Y-%m-%d %H:%M} UTC, {age.days} days and {age.seconds // 3600} hours ago{overdue}"
