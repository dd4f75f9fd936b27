"""Times of the last successful backup and drill of a stack, for `make status` and for the alerts of its cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlplatform.monitoring.scraping import NAMESPACE

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
    """Record that a backup or a drill has succeeded now."""
    file = record_file(stack, kind)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"time": datetime.now(UTC).isoformat()}))


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
        file = record_file(stack, kind)
        if not file.exists():
            yield f"  {kind}: none from this computer yet: run `make {kind} STACK={stack}`"
            continue
        time = datetime.fromisoformat(json.loads(file.read_text())["time"])
        age = datetime.now(UTC) - time
        overdue = f", overdue: run `make {kind} STACK={stack}`" if age > limit else ""
        yield f"  {kind}: {time:%Y-%m-%d %H:%M} UTC, {age.days} days and {age.seconds // 3600} hours ago{overdue}"
