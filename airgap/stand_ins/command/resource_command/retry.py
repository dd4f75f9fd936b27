"""Dialling again while a machine is not there yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .errors import Failed, Unreached
from .operation import Operation

T = TypeVar("T")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_GROWTH = 1.5


def dial(what: str, limit: int, attempt: Callable[[], T], operation: Operation) -> T:
    """What `attempt` returns once it does not raise Unreached; at most `limit` more attempts, no end if negative."""
    failed = 0
    delay = _FIRST_DELAY
    while True:
        operation.check()
        try:
            return attempt()
        except Unreached as error:
            failed += 1
            if 0 <= limit < failed:
                raise Failed(f"after {limit} failed attempts: {error}") from error
            operation.log.status(f"{what} {failed}/{'inf' if limit < 0 else limit} failed: retrying")
        operation.sleep(delay)
        delay = min(delay * _GROWTH, _LONGEST_DELAY)
