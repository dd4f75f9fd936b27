"""The lock that a killed `pulumi` leaves behind.

What it had begun needs no help: every command starts with a refresh (Pulumi.yaml), which forgets unfinished operations.
"""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.bootstrap.console import say
from tools.cli.pulumi_command import Pulumi

PROJECT_NAME = "mlplatform"
"""As in Pulumi.yaml."""


class StackBusy(Exception):
    """Another Pulumi is at work on the stack."""


@dataclass(frozen=True)
class Lock:
    """A lock of a `file://` backend."""

    file: Path
    pid: int
    host: str
    user: str

    def holder_lives(self) -> bool:
        """Whether the process that took it still runs; unknown, so assumed, of another computer's."""
        if self.host != socket.gethostname():
            return True
        try:
            process = psutil.Process(self.pid)
            # A later start means that the number was given to another program since.
            return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= self.file.stat().st_mtime
        except (psutil.NoSuchProcess, FileNotFoundError):
            return False


def remove_stale_locks(pulumi: Pulumi) -> None:
    """Let the stack be worked on again after a Pulumi on this computer was killed.

    Raises:
        StackBusy: the lock's holder lives; naming it.
    """
    locks = _locks(pulumi.backend.directory, pulumi.stack) if pulumi.backend.directory else []
    for lock in locks:
        if lock.holder_lives():
            raise StackBusy(
                f"another Pulumi is at work on the stack {pulumi.stack}: process {lock.pid} of {lock.user} on "
                f"{lock.host}. Wait for its end"
            )
    if locks:
        pulumi.check("cancel", "--yes")
        killed = ", ".join(str(lock.pid) for lock in locks)
        say(f"Removed the lock of a Pulumi that was killed (process {killed}).")


def _locks(backend: Path, stack: str) -> list[Lock]:
    found = []
    for file in (backend / ".pulumi" / "locks" / "organization" / PROJECT_NAME / stack).glob("*.json"):
        content = json.loads(file.read_text())
        found.append(Lock(file, content["pid"], content["hostname"], content["username"]))
    return found
