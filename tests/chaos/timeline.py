"""Report of a run: one line for each fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tools.cli.rehearsal.availability import SHORTEST_SECONDS, Outage

from .fault_plan import Fault


@dataclass(frozen=True)
class Event:
    """A fault that happened. `begin` is in seconds since 1970; `ready_after` None: not everything became Ready."""

    fault: Fault
    begin: float
    ready_after: float | None


def timeline(
    events: Sequence[Event],
    begin: float,
    end: float,
    failures: Sequence[float],
    services: Mapping[str, Sequence[Outage]],
) -> Iterator[str]:
    """Yield a header, and a line for each fault with its consequences until the next one.

    Args:
        events: the faults in the order of their time.
        begin: the begin of the run, in seconds since 1970.
        end: the end of the run.
        failures: times of the lost requests for predictions.
        services: times without an answer, by service.
    """
    columns = "".join(f"{f'{name} away':>19}" for name in services)
    yield f"{'at':>7}  {'fault':<33}{'for':>6}{'lost requests':>15}{columns}{'Ready after':>13}"
    for number, event in enumerate(events):
        until = events[number + 1].begin if number + 1 < len(events) else end
        lost = sum(event.begin <= each < until for each in failures)
        away = "".join(f"{longest_within(found, event.begin, until):>17.1f} s" for found in services.values())
        ready = "not" if event.ready_after is None else f"{event.ready_after:.0f} s"
        when, duration = event.begin - begin, event.fault.seconds
        yield f"{when:>5.0f} s  {event.fault!s:<33}{duration:>4.0f} s{lost:>15}{away}{ready:>13}"


def longest_within(found: Sequence[Outage], begin: float, end: float) -> float:
    """Return the longest time without an answer from `begin` to `end` in seconds, 0 without one.

    An outage begins with the last answer, which is a moment before its fault. That moment is no outage of the fault
    before.
    """
    parts = (min(later, end) - max(earlier, begin) for earlier, later in found)
    return max((part for part in parts if part >= SHORTEST_SECONDS), default=0.0)
