"""Progress and errors of what installs tools and builds the bundle, on standard error."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tools.bootstrap.paths import cache_directory

UNUSABLE_FILE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}
"""Errors of a full disk, of a file system that is read-only, of missing rights, and of a file in place of a folder."""


class SetupError(Exception):
    """A step that failed, with a message that says what to do."""


class Unavailable(SetupError):
    """A source of a tool that cannot be used on this computer; another source may work."""


def log_message(message: str, end: str = "\n") -> None:
    """Print a message to standard error: programs read the standard output of `make outputs` and `make env`."""
    print(message, end=end, file=sys.stderr, flush=True)


def file_failure(error: OSError) -> str:
    """Return the message for a file that cannot be read or written. The error of a write does not name its file.

    Raises:
        OSError: the error has another cause, such as a lost connection.
    """
    if error.errno not in UNUSABLE_FILE:
        raise error
    where = f" at {error.filename}" if error.filename else ""
    return (
        f"a file cannot be read or written{where}: {error.strerror}. The data are in {cache_directory()} "
        "(MLPLATFORM_CACHE). Repair the cause, such as a full disk or missing rights, and run the same command again"
    )


@contextmanager
def step(description: str) -> Iterator[None]:
    """Log the description of the block, and its duration or failure on the same line."""
    log_message(f"{description} ...", end=" ")
    start = time.monotonic()
    try:
        yield
    except Unavailable as error:
        log_message(f"not available: {error}")
        raise
    except BaseException:
        log_message(f"failed after {time.monotonic() - start:.0f} s")
        raise
    log_message(f"{time.monotonic() - start:.1f} s")
