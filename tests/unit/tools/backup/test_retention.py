"""Tests of the rules that choose old runs and model versions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from settings.services.retention import KeepRuleSettings
from tools.cli.retention.deletion_plan import Kept, RunRecord, VersionRecord, outdated_runs, outdated_versions

NOW = datetime(2026, 6, 1, tzinfo=UTC)
NOTHING = Kept((), ())


def run(name: str, days: int, **more: Any) -> RunRecord:
    return RunRecord(name, name[0], NOW - timedelta(days=days), **more)


def version(number: int, days: int, **more: Any) -> VersionRecord:
    return VersionRecord("iris", str(number), NOW - timedelta(days=days), run=f"r{number}", **more)


RUNS = [run(f"a{days}", days) for days in (1, 5, 20, 40)] + [run("b90", 90), run("b95", 95)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, []),
        ({"days": 30}, ["a40", "b95"]),
        ({"newest": 2}, ["a20", "a40"]),
        ({"days": 10, "newest": 3}, ["a40"]),
        ({"days": 1, "newest": 1}, ["a5", "a20", "a40", "b95"]),
        ({"days": 365}, []),
    ],
)
def test_outdated_runs_are_old_and_beyond_the_newest(rule: dict[str, int] | None, expected: list[str]) -> None:
    chosen = KeepRuleSettings(**rule) if rule else None
    assert [each.id for each in outdated_runs(RUNS, chosen, NOTHING, NOW)] == expected


def test_outdated_runs_leaves_needed_active_and_parent_runs() -> None:
    trials = [run("a50", 50), run("a51", 51, parent="a50"), run("a60", 60), run("a61", 61, parent="a60")]
    runs = [run("a1", 1), run("a70", 70), run("a80", 80, active=True), *trials]
    found = outdated_runs(runs, KeepRuleSettings(newest=1), Kept({"a70", "a61"}, ()), NOW)
    # The trial a51 goes with its run, and the run a60 stays with its needed trial.
    assert [each.id for each in found] == ["a50", "a51"]


def test_outdated_versions_leaves_aliased_named_and_newest_ones() -> None:
    versions = [version(1, 90, aliased=True), version(2, 80), version(3, 70), version(4, 60), version(5, 50)]
    rule = KeepRuleSettings(days=1)
    assert [each.version for each in outdated_versions(versions, rule, Kept((), {"iris/3"}), NOW)] == ["4", "2"]
    assert outdated_versions(versions, None, NOTHING, NOW) == []
