"""Retries of connection attempts, for machines that are still booting."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from airgap.stand_ins.command.resource_command.errors import HostUnreachable, OperationFailed
from airgap.stand_ins.command.resource_command.operation import Operation

T = TypeVar("T")

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_GROWTH = 1.5


def dial(label: str, limit: int, attempt: Callable[[], T], operation: Operation) -> T:
    """Return the result of `attempt`, retried while it raises HostUnreachable.

    Args:
        label: the name of the attempt in log messages.
        limit: the number of retries; negative for no limit.
        attempt: the attempt.
        operation: receives log messages, and ends the retries when it is cancelled.

    Raises:
        OperationFailed: no retry is left.
    """
    failed = 0
    delay = _FIRST_DELAY
    while True:
        operation.check()
        try:
            return attempt()
        except HostUnreachable as error:
            failed += 1
            if 0 <= limit < failed:
                raise OperationFailed(f"after {limit} failed attempts: {error}") from error
            operation.log.status(f"{label} {failed}/{'inf' if limit < 0 else limit} failed: retrying")
        operation.sleep(delay)
        delay = min(delay * _GROWTH, _LONGEST_DELAY)
