"""Report of `make test-chaos`."""

from __future__ import annotations

from tests.chaos.fault_plan import Fault, Kind
from tests.chaos.timeline import Event, longest_within, timeline
from tools.cli.rehearsal.availability import outages


def test_timeline_counts_consequences_until_the_next_fault() -> None:
    events = [
        Event(Fault(Kind.POWER_CUT, "worker-1", 30, 20), 1030.0, 12.0),
        Event(Fault(Kind.DNS_LOSS, "", 80, 10), 1080.0, None),
    ]
    services = {"predictions": [(1031.0, 1033.5), (1090.0, 1091.0)], "MLflow": []}
    header, cut, loss = timeline(events, 1000.0, 1200.0, [1031.0, 1079.9, 1080.0, 1010.0], services)
    assert header.split()[:6] == ["at", "fault", "for", "lost", "requests", "predictions"]
    assert cut.split() == [
        "30",
        "s",
        "power",
        "cut",
        "of",
        "worker-1",
        "20",
        "s",
        "2",
        "2.5",
        "s",
        "0.0",
        "s",
        "12",
        "s",
    ]
    assert loss.split() == ["80", "s", "DNS", "loss", "10", "s", "1", "1.0", "s", "0.0", "s", "not"]


def test_outages_are_pauses_of_a_second_with_both_ends() -> None:
    assert list(outages([3.0, 3.5, 8.0], 1.0, 8.5)) == [(1.0, 3.0), (3.5, 8.0)]
    assert list(outages([], 1.0, 4.0)) == [(1.0, 4.0)]
    assert list(outages([1.5, 2.0], 1.0, 2.5)) == []


def test_longest_within_counts_the_part_between_both_times() -> None:
    found = [(1.0, 3.0), (5.0, 6.0), (6.9, 20.0)]
    assert longest_within(found, 0.0, 7.0) == 2.0
    assert longest_within(found, 7.0, 30.0) == 13.0
    assert longest_within(found, 2.5, 4.0) == 0.0
