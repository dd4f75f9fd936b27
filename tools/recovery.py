"""What a killed `pulumi` leaves behind: its lock, and operations that the state has as begun."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.runner import Pulumi
from tools.steps import say

PROJECT_NAME = "mlplatform"
"""As in Pulumi.yaml."""
OURS = "pulumi-python:"
"""Types of our own dynamic resources, which may all be created again over what an interrupted creation left."""


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
            return psutil.Process(self.pid).create_time() <= self.file.stat().st_mtime
        except (psutil.NoSuchProcess, FileNotFoundError):
            return False


def recover(pulumi: Pulumi) -> None:
    """Make the stack ready for another operation.

    Raises:
        StackBusy: naming the process that works on it.
    """
    _remove_stale_locks(pulumi)
    _clear_interrupted_operations(pulumi)


def _locks(backend: Path, stack: str) -> list[Lock]:
    found = []
    for file in (backend / ".pulumi" / "locks" / "organization" / PROJECT_NAME / stack).glob("*.json"):
        content = json.loads(file.read_text())
        found.append(Lock(file, content["pid"], content["hostname"], content["username"]))
    return found


def _remove_stale_locks(pulumi: Pulumi) -> None:
    locks = _locks(pulumi.backend.directory, pulumi.stack) if pulumi.backend.directory else []
    for lock in locks:
        if lock.holder_lives():
            raise StackBusy(
                f"another Pulumi is at work on the stack {pulumi.stack}: process {lock.pid} of {lock.user} on {lock.host}. "
                "Wait for its end"
            )
    if locks:
        pulumi.check("cancel", "--yes")
        killed = ", ".join(str(lock.pid) for lock in locks)
        say(f"Removed the lock of a Pulumi that was killed (process {killed}).")


def _clear_interrupted_operations(pulumi: Pulumi) -> None:
    """Let a refresh forget creations that were begun: Pulumi would warn of them for ever.

    What is of another provider, such as a machine in a cloud, may be there and cost money: then Pulumi's own warning
    stands, for a person to look.
    """
    operations = json.loads(pulumi.check("stack", "export"))["deployment"].get("pending_operations") or []
    resources = [operation["resource"] for operation in operations]
    if resources and all(resource["type"].startswith(OURS) for resource in resources):
        names = ", ".join(resource["urn"].rsplit("::", 1)[-1] for resource in resources)
        say(f"An earlier run was interrupted at {names}; refreshing the state first.")
        pulumi.check("refresh", "--yes", "--skip-preview", "--clear-pending-creates")
