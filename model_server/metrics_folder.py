"""The folder of the workers' metrics, in memory where the system has shared memory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
PREFIX = "model_server-metrics-"


@contextmanager
def metrics_folder(cache: Path | None) -> Iterator[str]:
    """Yield a folder for files that the workers map into their memory, and remove it at the end.

    On a full disk, a write to such a file kills the worker with SIGBUS. Therefore the files are in shared memory.
    Systems without it use `cache`, or the folder of temporary files.
    """
    parent = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else cache
    if parent == SHARED_MEMORY:
        _remove_folders_of_killed_servers()
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-", dir=parent) as folder:
        yield folder


def process_exists(pid: int) -> bool:
    """Return True if there is a process with this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        pass
    return True


def _remove_folders_of_killed_servers() -> None:
    """Remove the folders that killed servers of this user left behind."""
    for folder in SHARED_MEMORY.glob(f"{PREFIX}*"):
        pid = int(folder.name.removeprefix(PREFIX).partition("-")[0])
        with suppress(FileNotFoundError):  # its server removed it meanwhile
            if folder.stat().st_uid == os.getuid() and not process_exists(pid):
                shutil.rmtree(folder, ignore_errors=True)
