"""Folders of this computer with the files of pipeline runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tools.cli.retention.deletion_plan import RunRecord

NAME = re.compile(r"(?P<pipeline>.+)-(?P<started>\d{8}-\d{6})-[0-9a-f]{6}")
"""Name of a folder, which is the id of its run."""
ACTIVE = timedelta(days=1)
"""Time after its last change in which a folder may belong to a run in progress."""


def run_folders(runs: Path, now: datetime) -> Iterator[RunRecord]:
    """Yield a record for each folder of a run below `runs`."""
    for folder in sorted(runs.glob("*/")):
        if match := NAME.fullmatch(folder.name):
            started = datetime.strptime(match["started"], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
            active = now - datetime.fromtimestamp(_last_change(folder), UTC) <= ACTIVE
            yield RunRecord(folder.name, match["pipeline"], started, active=active)


def _last_change(folder: Path) -> float:
    """Return the time of the last change in seconds since 1970. A run in progress may delete files meanwhile."""
    times = [folder.lstat().st_mtime]
    for each in folder.glob("*"):
        with suppress(FileNotFoundError):
            times.append(each.lstat().st_mtime)
    return max(times)


def folder_size(folder: Path) -> int:
    """Return the size in bytes of the files of a folder; 0 if it does not exist."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
