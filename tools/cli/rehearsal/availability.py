"""Times without an answer of services, measured by requests at a steady rate."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

INTERVAL_SECONDS = 0.25
SHORTEST_SECONDS = 1.0
"""Shorter pauses between two answers are no outage."""
Outage = tuple[float, float]
"""Begin and end, in seconds since 1970."""


def outages(answers: Sequence[float], begin: float, end: float) -> Iterator[Outage]:
    """Yield the pauses of at least a second between answers, from `begin` to `end`.

    Args:
        answers: times of answers in their order.
        begin: the time of the first request.
        end: the time of the last request.
    """
    times = [begin, *(each for each in answers if begin < each < end), end]
    for earlier, later in itertools.pairwise(times):
        if later - earlier >= SHORTEST_SECONDS:
            yield (round(earlier, 2), round(later, 2))


@dataclass
class WatchedService:
    """A service that gets requests in a thread.

    Args:
        name: its name in reports.
        request: sends a request; it raises an exception without an answer, and has a timeout.
    """

    name: str
    request: Callable[[], object]
    answers: list[float] = field(default_factory=list)
    reason: str = ""
    """The last failure."""
    begin: float = 0.0
    end: float | None = None
    """Times of the first and after the last request, in seconds since 1970."""

    def repeat(self, ended: threading.Event) -> None:
        """Send requests until the end."""
        self.begin = time.time()
        while not ended.wait(INTERVAL_SECONDS):
            try:
                self.request()
            except Exception as error:  # whatever a client raises: the service is away
                self.reason = f"{type(error).__name__}: {error}"
            else:
                self.answers.append(time.time())
        self.end = time.time()

    def outages(self) -> list[Outage]:
        """Return the times without an answer, up to now if the requests continue."""
        return list(outages(self.answers, self.begin, self.end or time.time()))


@contextmanager
def watched(requests: Mapping[str, Callable[[], object]]) -> Iterator[list[WatchedService]]:
    """Send requests to services, given by name, while the block runs."""
    services, ended = [WatchedService(name, request) for name, request in requests.items()], threading.Event()
    threads = [threading.Thread(target=each.repeat, args=(ended,), daemon=True) for each in services]
    for thread in threads:
        thread.start()
    try:
        yield services
    finally:
        ended.set()
        for thread in threads:
            thread.join()
