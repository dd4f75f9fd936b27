"""Retries with a deadline, for servers that restart and machines that start."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from infra.errors import UserError

T = TypeVar("T")
AWAY_SECONDS = 120
"""Time for which `retry` accepts transient errors."""
PAUSE_SECONDS = 2
BUSY = {429, 500, 502, 503, 504}
"""HTTP statuses of transient errors."""


def poll(check: Callable[[], T | None], *, timeout: float, interval: float | Callable[[], float]) -> T | None:
    """Call `check` until it returns a value other than None, and return that value; None after `timeout` seconds.

    `check` runs at least once. Its exceptions end the polling. `interval` is the pause in seconds.
    """
    deadline = time.monotonic() + timeout
    while (value := check()) is None and time.monotonic() <= deadline:
        time.sleep(interval() if callable(interval) else interval)
    return value


def retry(call: Callable[[], T], transient_reason: Callable[[Exception], str | None], subject: str) -> T:
    """Return the result of `call`, repeated for up to two minutes while its errors are transient.

    Args:
        call: the request.
        transient_reason: returns the text of a transient error, None for any other one.
        subject: the server, for the error message.

    Raises:
        UserError: `subject` stays unavailable; with the last reason.
        Exception: the first error that is not transient.
    """
    reason: str | None = None

    def attempt() -> tuple[T] | None:
        nonlocal reason
        try:
            return (call(),)
        except Exception as error:
            if (reason := transient_reason(error)) is None:
                raise
            return None

    result = poll(attempt, timeout=AWAY_SECONDS, interval=PAUSE_SECONDS)
    if result is None:
        raise UserError(
            f"{subject} cannot be used: {reason}. A run that has begun continues in the cluster; the next "
            "`pulumi up` resumes it"
        )
    return result[0]


def error_message(error: Any) -> str:
    """Return the server's message in an `ApiException` of one of the generated clients."""
    try:
        body = json.loads(error.body)
    except (TypeError, ValueError):
        return str(error.body or error.reason)
    return str(body.get("message") or body.get("error_details") or body.get("error") or body)
