"""Removal of the lock of a `pulumi` that was killed, in a `file://` backend.

A lock holds a process ID and a host name. Containers may share the host name, but each has separate process IDs. A lock
is stale only if its `pulumi` would be visible here and does not exist. Times are not compared, because the clock may
have been set. Unfinished operations need no handling: every command starts with a refresh (Pulumi.yaml), which drops
them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tools.bootstrap import paths
from tools.bootstrap.console import log_message

PROJECT_NAME = "mlplatform"
"""The name in Pulumi.yaml."""
PROGRAM = "pulumi"
INITIAL_NAMESPACE = 0xEFFFFFFC
"""Inode of Linux's initial PID namespace, from which all processes of the computer are visible."""


class StackBusy(Exception):
    """A stack that another Pulumi is working on, or may be working on."""


@dataclass(frozen=True)
class Lock:
    """A lock of a `file://` backend."""

    file: Path
    pid: int
    host: str
    user: str

    def is_stale(self) -> bool:
        """Return True if the process of the lock has certainly ended."""
        if self.host != socket.gethostname() or any(self.pid in _process_ids(each) for each in _running()):
            return False
        return _pid_namespace() in (None, INITIAL_NAMESPACE) or _record(self.pid).exists()


@contextmanager
def recorded(pid: int) -> Iterator[None]:
    """Record the process ID of a `pulumi` for the block.

    If both are killed, the record shows that its lock is from this PID namespace.
    """
    record = _record(pid)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.touch()
    yield
    record.unlink(missing_ok=True)


def remove_stale_locks(backend: Path, stack: str) -> None:
    """Remove the locks of Pulumi processes on this computer that were killed.

    Only files of stale locks are deleted. `pulumi cancel` would also delete a lock that was taken in the meantime.

    Args:
        backend: the folder of the backend.
        stack: the stack's name without organization and project.

    Raises:
        StackBusy: A lock is not stale; the message names its process.
    """
    locks = list(_locks(backend, stack))
    for lock in locks:
        if not lock.is_stale():
            raise StackBusy(
                f"another Pulumi is working on the stack {stack}: process {lock.pid} of {lock.user} on {lock.host}. "
                f"Wait until it ends. If it was killed in another container or on another computer, delete {lock.file}"
            )
    for lock in locks:
        lock.file.unlink(missing_ok=True)
        _record(lock.pid).unlink(missing_ok=True)
        log_message(f"Removed the lock of a Pulumi that was killed (process {lock.pid}).")


def _locks(backend: Path, stack: str) -> Iterator[Lock]:
    for file in (backend / ".pulumi" / "locks" / "organization" / PROJECT_NAME / stack).glob("*.json"):
        try:
            content = json.loads(file.read_text())
            yield Lock(file, content["pid"], content["hostname"], content["username"])
        except FileNotFoundError:
            continue  # its Pulumi has ended since the folder was listed
        except (ValueError, KeyError):
            raise StackBusy(f"the lock {file} cannot be read. If no Pulumi is running, delete it") from None


def _running() -> Iterator[psutil.Process]:
    """Yield the Pulumi processes of this computer. A zombie, which waits for its parent, has ended."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if PROGRAM in process.name() and process.status() != psutil.STATUS_ZOMBIE:
                yield process


def _process_ids(process: psutil.Process) -> set[int]:
    """Return the IDs of a process in this PID namespace and in those of its containers."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return {process.pid}
    line = next((line for line in status.splitlines() if line.startswith("NSpid:")), "")
    return {process.pid, *map(int, line.split()[1:])}


def _pid_namespace() -> int | None:
    """Return the inode of this process's PID namespace, None on systems without namespaces."""
    try:
        return Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        return None


def _record(pid: int) -> Path:
    """Return the file that records a process ID of this PID namespace since the start of the computer."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = "unknown"
    return paths.cache_directory() / "processes" / f"{boot}-{_pid_namespace()}-{pid}"
