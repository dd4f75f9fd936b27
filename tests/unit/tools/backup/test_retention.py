"""Tests of the rules that choose old runs and model versions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest

from settings.services.retention import KeepRuleSettings
from settings.stack import StackSettings
from tools.cli.cluster_access import AccessError
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention import prune
from tools.cli.retention.deletion_plan import Kept, RunRecord, VersionRecord, outdated_runs, outdated_versions
from tools.cli.retention.tracking_records import TrackingRecords

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


def test_outdated_runs_does_not_count_the_runs_of_a_parent() -> None:
    runs = [run("a1", 1), run("a5", 5), *(run(f"a{days}", days, parent="a1") for days in (2, 3, 4)), run("a9", 9)]
    found = outdated_runs(runs, KeepRuleSettings(newest=2), NOTHING, NOW)
    assert [each.id for each in found] == ["a9"]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, []),
        ({"days": 1}, ["4", "2"]),
        ({"days": 75}, ["2"]),
        ({"days": 365}, []),
        ({"newest": 3}, ["2"]),
        ({"newest": 4}, []),
    ],
)
def test_outdated_versions_leaves_aliased_named_and_newest_ones(
    rule: dict[str, int] | None, expected: list[str]
) -> None:
    versions = [version(1, 90, aliased=True), version(2, 80), version(3, 70), version(4, 60), version(5, 50)]
    chosen = KeepRuleSettings(**rule) if rule else None
    assert [each.version for each in outdated_versions(versions, chosen, Kept((), {"iris/3"}), NOW)] == expected


def test_prune_of_a_stack_that_is_not_up_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = StackSettings.model_validate({"platform": {"keep": {"runs": {"newest": 1}}}})
    monkeypatch.setattr(prune, "stack_settings", lambda _: settings)
    monkeypatch.setattr(prune, "secret_outputs", lambda _: {})
    with pytest.raises(AccessError, match="the stack dev is not up: run `make up STACK=dev`"):
        prune.prune(Pulumi("dev"), [])
    # The first `make up` failed halfway.
    monkeypatch.setattr(prune, "secret_outputs", lambda _: {"kubeconfig": "k"})
    assert prune.planned_deletions(Pulumi("dev")) == []


def test_retention_plan_deletes_old_folders_of_runs_that_mlflow_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    monkeypatch.setattr(prune, "kept_items", lambda *_: Kept({"iris-20250101-000000-00000a"}, ()))
    runs = tmp_path / "stacks" / "dev" / "runs"
    recorded = "iris-20250601-000000-000006"
    _write_run_folders(
        runs,
        old=["iris-20250101-000000-00000a", "iris-20250201-000000-00000b", recorded, "rent-20250101-000000-00000d"],
        new=["iris-20250301-000000-00000c", "rent-20250201-000000-00000e"],
    )
    (runs / "durations.json").write_text("{}")
    (runs / recorded / "gone").symlink_to("no-such-file")
    pulumi, settings = Pulumi("dev"), StackSettings.model_validate({"platform": {"keep": {"runs": {"newest": 1}}}})
    records = TrackingRecords(pulumi, "", cast(Any, None), {}, [RunRecord("id", "iris", NOW)], [], {"id": recorded})
    plan = prune.retention_plan(pulumi, settings, records)
    assert {folder.name for folder in plan.folders} == {"iris-20250201-000000-00000b", "rent-20250101-000000-00000d"}
    assert list(plan.lines()) == [
        "1 folders of runs of `iris` that MLflow does not have, the first of 2025-02-01",
        "1 folders of runs of `rent` that MLflow does not have, the first of 2025-01-01",
        "files of 2.0 MB",
    ]


def test_folder_of_a_run_that_cannot_be_deleted_is_named_and_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    runs = tmp_path / "stacks" / "dev" / "runs"
    outdated = ["iris-20250101-000000-00000a", "iris-20250201-000000-00000b"]
    _write_run_folders(runs, old=outdated, new=["iris-20250301-000000-00000c"])
    settings = StackSettings.model_validate({"platform": {"keep": {"runs": {"newest": 1}}}})
    records = TrackingRecords(Pulumi("dev"), "", cast(Any, None), {}, [], [], {})
    recorded = Mock()
    monkeypatch.setattr(TrackingRecords, "delete", lambda *_: None)
    for name, value in {
        "stack_settings": lambda _: settings,
        "secret_outputs": lambda _: {},
        "tracking_records": lambda *_: nullcontext(records),
        "kept_items": lambda *_: NOTHING,
        "record_action": recorded,
    }.items():
        monkeypatch.setattr(prune, name, value)
    remove = shutil.rmtree

    def refused(folder: Path, *, ignore_errors: bool = False) -> None:
        if folder.name != outdated[0]:
            remove(folder)
        elif not ignore_errors:
            raise PermissionError(13, "Permission denied", str(folder / "run.log"))

    monkeypatch.setattr(shutil, "rmtree", refused)
    assert prune.prune(Pulumi("dev"), []) == 1
    message = capsys.readouterr().err
    assert (
        "1 folders of runs of `iris` that MLflow does not have, the first of 2025-02-01\n  files of 1.0 MB" in message
    )
    assert f"{runs / outdated[0]} cannot be deleted: [Errno 13] Permission denied" in message
    assert "1 folders of runs" in recorded.call_args.args[-1]
    assert sorted(each.name for each in runs.iterdir()) == [outdated[0], "iris-20250301-000000-00000c"]


def _write_run_folders(runs: Path, old: Sequence[str], new: Sequence[str]) -> None:
    for name in (*old, *new):
        (runs / name).mkdir(parents=True)
        (runs / name / "run.log").write_bytes(bytes(1_000_000))
    for name in old:
        for path in (runs / name / "run.log", runs / name):
            os.utime(path, (0, 0))
