"""Plan of faults of `make test-chaos`."""

from __future__ import annotations

import itertools

import pytest

from tests.chaos.fault_plan import DURATIONS, OF_CLUSTER, RECOVERY_SECONDS, Fault, Kind, plan_faults

THREE = ("control-plane", "worker-1", "worker-2")
FIVE = ("control-plane", "control-plane-2", "control-plane-3", "worker-1", "worker-2")
MINUTES = 60
SEEDS = range(50)


def plans(machines: tuple[str, ...]) -> list[list[Fault]]:
    return [plan_faults(seed, 60 * MINUTES, machines, machines[-1]) for seed in SEEDS]


def test_fault_plan_of_equal_seeds_is_equal() -> None:
    assert plans(THREE) == plans(THREE)
    assert len({tuple(map(str, plan)) for plan in plans(THREE)}) == len(SEEDS)


@pytest.mark.parametrize("machines", [THREE, FIVE])
def test_fault_plan_never_has_two_machines_away_together(machines: tuple[str, ...]) -> None:
    for plan in plans(machines):
        for earlier, later in itertools.pairwise(plan):
            assert later.begin >= earlier.end + RECOVERY_SECONDS
        assert {fault.machine for fault in plan if fault.kind not in OF_CLUSTER} == set(machines)


def test_fault_plan_has_each_kind_before_any_again() -> None:
    for plan in plans(THREE):
        kinds = [fault.kind for fault in plan]
        assert len(kinds) >= 2 * len(Kind)
        assert set(kinds[: len(Kind)]) == set(kinds[len(Kind) : 2 * len(Kind)]) == set(Kind)


def test_fault_plan_stays_within_the_run_and_the_durations() -> None:
    for minutes in (0, 1, 10, MINUTES):
        for seed in SEEDS:
            for fault in plan_faults(seed, 60 * minutes, THREE, "worker-2"):
                shortest, longest = DURATIONS[fault.kind]
                assert shortest <= fault.seconds <= longest
                assert fault.begin >= RECOVERY_SECONDS
                assert fault.end <= 60 * minutes - RECOVERY_SECONDS


def test_fault_plan_fills_the_small_disk_only() -> None:
    for plan in plans(FIVE):
        assert {fault.machine for fault in plan if fault.kind == Kind.FULL_DISK} == {"worker-2"}
        assert {fault.machine for fault in plan if fault.kind in OF_CLUSTER} == {""}
