"""Removal of the lock of a `pulumi` that was killed.

Its unfinished operations need no handling: every command starts with a refresh (Pulumi.yaml), which drops them.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.bootstrap.console import log_message
from tools.cli.pulumi_command import Pulumi

PROJECT_NAME = "mlplatform"
"""As in Pulumi.yaml."""


class StackBusy(Exception):
    """A stack that another Pulumi is working on."""


@dataclass(frozen=True)
class Lock:
    """A lock of a `file://` backend."""

    file: Path
    pid: int
    host: str
    user: str

    def holder_lives(self) -> bool:
        """Return True if the process that took the lock runs, or may run on another computer."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            # A process that started after the lock was written has reused the process ID.
            return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= self.file.stat().st_mtime
        except (psutil.NoSuchProcess, FileNotFoundError):
            return False


def remove_stale_locks(pulumi: Pulumi) -> None:
    """Remove the locks of Pulumi processes on this computer that were killed.

    Raises:
        StackBusy: The process of a lock is running; the message names it.
    """
    locks = _locks(pulumi.backend.directory, pulumi.stack) if pulumi.backend.directory else []
    for lock in locks:
        if lock.holder_lives():
            raise StackBusy(
                f"another Pulumi is working on the stack {pulumi.stack}: process {lock.pid} of {lock.user} on "
                f"{lock.host}. Wait until it ends"
            )
    if locks:
        pulumi.output("cancel", "--yes")
        killed = ", ".join(str(lock.pid) for lock in locks)
        log_message(f"Removed the lock of a Pulumi that was killed (process {killed}).")


def _locks(backend: Path, stack: str) -> list[Lock]:
    locks = []
    for file in (backend / ".pulumi" / "locks" / "organization" / PROJECT_NAME / stack).glob("*.json"):
        content = json.loads(file.read_text())
        locks.append(Lock(file, content["pid"], content["hostname"], content["username"]))
    return locks
