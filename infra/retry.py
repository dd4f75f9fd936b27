"""Asking again what may not answer for a while, as while a machine or a pod starts anew."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

from infra.dynamic_provider import UserError

T = TypeVar("T")
AWAY_SECONDS = 120
"""How long somebody may be away."""
PAUSE_SECONDS = 2
BUSY = {429, 500, 502, 503, 504}
"""HTTP statuses that are no answer."""


def retry(call: Callable[[], T], away: Callable[[Exception], str | None], who: str) -> T:
    """Call until there is an answer; `away` says why an error is none, None where it is one.

    Raises:
        UserError: `who` stays away, with the reason.
        Exception: the error that is an answer.
    """
    deadline = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return call()
        except Exception as error:
            reason = away(error)
            if reason is None:
                raise
        if time.monotonic() > deadline:
            raise UserError(
                f"{who} cannot be used: {reason}. A run that has begun goes on in the cluster, and the next "
                "`pulumi up` finds it"
            )
        time.sleep(PAUSE_SECONDS)


def error_message(error: Any) -> str:
    """What a server says about an error, in whichever of its ways: `error` is one of the generated clients'."""
    try:
        body = json.loads(error.body)
    except (TypeError, ValueError):
        return str(error.body or error.reason)
    return str(body.get("message") or body.get("error_details") or body.get("error") or body)
