"""A lock between processes of this computer."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bootstrap.console import log_message


class LockIsHeld(Exception):
    """Another process has the lock."""


@contextmanager
def file_lock(file: Path, waiting: str = "", *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on `file` for the block.

    The kernel releases the lock when its process ends, also after SIGKILL.

    Args:
        file: the lock file; it is created with its folder.
        waiting: the message to log before waiting for another process; without one, do not wait.
        shared: True to let other processes hold the lock with `shared`, False to let none.

    Raises:
        LockIsHeld: another process has the lock, and `waiting` is empty.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waiting:
                raise LockIsHeld from None
            log_message(waiting)
            fcntl.flock(lock, kind)
        yield
