"""A lock between processes of this computer."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.bootstrap.console import log_message


@contextmanager
def file_lock(file: Path, waiting: str, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock on `file` for the block.

    The kernel releases the lock when its process ends, also after SIGKILL.

    Args:
        file: the lock file; it is created with its folder.
        waiting: the message to log before waiting for another process.
        shared: True to let other processes hold the lock with `shared`, False to let none.
    """
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            log_message(waiting)
            fcntl.flock(lock, kind)
        yield
