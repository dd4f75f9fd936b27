"""Progress and errors of what installs tools and builds the bundle, on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class SetupError(Exception):
    """A step that failed, with a message that says what to do."""


class Unavailable(SetupError):
    """A source of a tool that cannot be used on this computer; another source may work."""


def log_message(message: str, end: str = "\n") -> None:
    """Print a message to standard error: programs read the standard output of `make outputs` and `make env`."""
    print(message, end=end, file=sys.stderr, flush=True)


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
