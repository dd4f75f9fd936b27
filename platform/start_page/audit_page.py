"""Entries of the audit log for its page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class FoundEntries:
    """Entries as texts, the newest first, or the reason why there are none."""

    entries: Sequence[Mapping[str, Any]] = field(default_factory=list)
    fault: str | None = None


def found_entries(url: str, key: str, wanted: Mapping[str, str]) -> FoundEntries:
    """Return the entries that match a search.

    Args:
        url: the URL of the audit log.
        key: the key of the door.
        wanted: texts of `user`, `since` and `contains`; "" for any.
    """
    try:
        since = datetime.fromisoformat(wanted["since"] or "1970-01-01").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return FoundEntries(fault=f"{wanted['since']!r} is no time; write it as 2026-11-28T20:15, in UTC.")
    query = {**wanted, "since": str(since)}
    try:
        response = requests.get(f"{url}/entries", params=query, headers={"X-Door-Key": key}, timeout=TIMEOUT_SECONDS)
        response.raise_for_status()
        entries: list[dict[str, Any]] = response.json()["entries"]
    except (requests.RequestException, ValueError, KeyError):
        return FoundEntries(fault="The audit log does not respond.")
    return FoundEntries(
        [each | {"time": f"{datetime.fromtimestamp(each['time'], UTC):%Y-%m-%d %H:%M:%S}"} for each in entries]
    )
