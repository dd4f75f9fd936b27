"""Tests of backups: the repository, refused restores, and the comparison of a restored stack."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from settings.services.backup_settings import BackupSettings, SnapshotRetentionSettings
from settings.stack import StackSettings
from tools.bootstrap import paths
from tools.bootstrap.restic_program import restic_program
from tools.cli.backup import backup as backup_module
from tools.cli.backup import restic_repository, stack_state
from tools.cli.backup.contents.local_data import (
    copy_local_data,
    has_local_data,
    new_kept_folder,
    replace_local_data,
    stack_folder,
)
from tools.cli.backup.errors import BackupError, RepositoryLocked
from tools.cli.backup.fingerprint import differences, score_urls, unchanged_records
from tools.cli.backup.known_repository import open_repository
from tools.cli.backup.records import BACKUP, backup_lines, record_file, record_success
from tools.cli.backup.restic_repository import DATA, STATE, BackupRepository, SavedStack, configured_repository
from tools.cli.backup.restore import restore
from tools.cli.cluster_access import AccessError
from tools.cli.pulumi_command import Pulumi
from tools.cli.stale_locks import StackBusy


@pytest.fixture(autouse=True)
def empty_cache(restic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def repository(tmp_path: Path) -> BackupRepository:
    return configured_repository(BackupSettings(target=str(tmp_path / "backups"), password="a-long-password"))


def test_restic_program_with_an_old_one_on_path_uses_another(restic: Path, tmp_path: Path) -> None:
    assert restic_program() == restic
    built = paths.tool_directory("restic", paths.pinned_versions()["restic"]["version"]) / "restic"
    built.parent.mkdir(parents=True)
    shutil.copy(restic, built)
    restic.write_text("#!/bin/sh\necho restic 0.9.6\n")
    assert restic_program() == built


def test_latest_returns_the_newest_snapshot_of_stack_and_part(repository: BackupRepository, tmp_path: Path) -> None:
    repository.create()
    a = SavedStack("a", "id-a")
    for content, stack in (("old", a), ("new", a), ("other", SavedStack("b", "id-b"))):
        folder = tmp_path / content
        folder.mkdir()
        (folder / "file").write_text(content)
        repository.save_folder(folder, stack)
    repository.save_state("state of a", a)
    assert repository.read_file(repository.latest(SavedStack("a"), DATA), "file").strip() == "new"
    assert repository.read_file(repository.latest(a, STATE), "state.json").strip() == "state of a"
    with pytest.raises(BackupError, match="no backup of the data of stack c; it has those of: a, b"):
        repository.latest(SavedStack("c"), DATA)


def test_repository_with_another_password_raises(repository: BackupRepository) -> None:
    repository.create()
    with pytest.raises(BackupError, match="RESTIC_PASSWORD does not open the backups"):
        BackupRepository(repository.address, {"RESTIC_PASSWORD": "wrong"}).identifier()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that were made; they take no time."""
    found: list[float] = []
    monkeypatch.setattr(restic_repository, "time", Mock(wraps=time, sleep=found.append))
    return found


def test_repository_that_another_program_uses_is_tried_again(
    repository: BackupRepository, tmp_path: Path, pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    repository.create()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("content")
    stack, lock = SavedStack("a", "id-a"), Path(repository.address) / "live-lock"
    for use in (
        repository.identifier,
        lambda: repository.save_folder(tmp_path / "data", stack),
        lambda: repository.save_state("state", stack),
        lambda: repository.delete_outdated(stack, SnapshotRetentionSettings(last=2)),
    ):
        lock.write_text("2")
        pauses.clear()
        use()
        assert pauses == [1, 2]
        assert capsys.readouterr().err.count("Another program uses the backups") == 1
    assert repository.read_file(repository.latest(stack, STATE), "state.json").strip() == "state"


def test_repository_that_stays_locked_is_given_up_and_the_backup_is_saved(
    repository: BackupRepository, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.create()
    (Path(repository.address) / "live-lock").write_text("9")
    monkeypatch.setattr(restic_repository, "LOCKED_SECONDS", 0)
    with pytest.raises(RepositoryLocked, match=r"another program uses the backups at .* by PID 1 on host by root; w"):
        repository.delete_outdated(SavedStack("a", "id-a"), SnapshotRetentionSettings())
    assert pauses == []


@pytest.mark.usefixtures("pauses")
def test_delete_outdated_after_a_killed_backup_passes_each_rule_that_is_not_zero(repository: BackupRepository) -> None:
    repository.create()
    (Path(repository.address) / "stale-lock").touch()
    repository.delete_outdated(SavedStack("a", "id-a"), SnapshotRetentionSettings(last=2, daily=0, weekly=1, monthly=3))
    passed = (Path(repository.address) / "forgotten").read_text()
    assert "--host a --tag identity=id-a --group-by host,tags --prune" in passed
    assert passed.endswith("--keep-last=2 --keep-weekly=1 --keep-monthly=3")


def test_backup_of_a_stack_that_is_not_up_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    section = {"target": str(tmp_path / "backups"), "password": "a-long-password"}
    settings = StackSettings.model_validate({"platform": {"backup": section}})
    half = {"deployment": {"deployment": {"resources": [{"type": "mlplatform:index:Machine"}]}}}
    monkeypatch.setattr(backup_module, "stack_settings", lambda _: settings)
    monkeypatch.setattr(backup_module, "export_state", lambda _: half)
    monkeypatch.setattr(backup_module, "secret_outputs", lambda _: {})
    with pytest.raises(AccessError, match="the stack dev is not up: run `make up STACK=dev`"):
        backup_module.backup(Pulumi("dev"), [])
    assert not (tmp_path / "backups").exists()


def test_files_of_runs_that_are_deleted_during_a_copy_are_left_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("runs/a/1", "runs/a/2", "runs/b/1", "runs/b/2", "mlflow/artifacts/1"):
        file = stack_folder("dev") / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    link = os.link

    def deleting(source: str, target: str) -> None:
        """Delete the other files of runs with the first one that is copied."""
        run = Path(source).parent
        if run.parent.name == "runs":
            for other in {*run.parent.rglob("?/?")} - {Path(source)}:
                other.unlink()
            for other in {*run.parent.iterdir()} - {run}:
                other.rmdir()
        link(source, target)

    monkeypatch.setattr(os, "link", deleting)
    copy_local_data("dev", tmp_path / "copy")
    assert len([each for each in (tmp_path / "copy/runs").rglob("*") if each.is_file()]) == 1
    monkeypatch.setattr(os, "link", Mock(side_effect=FileNotFoundError))
    monkeypatch.setattr(shutil, "copy2", Mock(side_effect=FileNotFoundError))
    with pytest.raises(BackupError, match=r"1 files cannot be copied, the first is .*mlflow/artifacts/1"):
        copy_local_data("dev", tmp_path / "second")


def test_copy_local_data_with_a_database_that_cannot_be_copied_names_it(tmp_path: Path) -> None:
    database = stack_folder("dev") / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_text("no database\n" * 100)
    with pytest.raises(BackupError, match=rf"^{database} cannot be copied: file is not a database"):
        copy_local_data("dev", tmp_path / "copy")


def test_replace_local_data_moves_the_data_of_before_aside(tmp_path: Path) -> None:
    for stack, value in (("source", 1), ("target", 2)):
        artifacts = stack_folder(stack) / "mlflow" / "artifacts"
        artifacts.mkdir(parents=True)
        (artifacts / "file").write_text(stack)
        with sqlite3.connect(artifacts.parent / "mlflow.db") as database:
            database.execute("create table runs (value integer)")
            database.execute("insert into runs values (?)", [value])
        database.close()
    copy_local_data("source", tmp_path / "copy")
    before = replace_local_data("target", tmp_path / "copy", new_kept_folder("target"))
    assert has_local_data("target")
    assert before
    for folder, stack, value in ((stack_folder("target"), "source", 1), (before, "target", 2)):
        assert (folder / "mlflow/artifacts/file").read_text() == stack
        database = sqlite3.connect(folder / "mlflow/mlflow.db")
        assert database.execute("select value from runs").fetchall() == [(value,)]
        database.close()
    assert (stack_folder("source") / "mlflow/artifacts/file").read_text() == "source"


def test_restore_that_is_killed_in_its_first_up_leaves_the_pipelines_enabled(
    repository: BackupRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.create()
    (tmp_path / "data").mkdir()
    (tmp_path / "data/manifest.json").write_text("{}")
    repository.save_folder(tmp_path / "data", SavedStack("source", "id-1"))
    own = tmp_path / ".stacks/Pulumi.dev.yaml"
    own.parent.mkdir()
    own.write_text("encryptionsalt: v1:salt\nconfig: {serving:port: 6005}\n")
    monkeypatch.setattr(stack_state, "PROJECT", tmp_path)
    monkeypatch.setenv("RESTIC_PASSWORD", "a-long-password")
    commands: list[tuple[str, ...]] = []
    used: list[dict[str, Any]] = []

    def output(_pulumi: Pulumi, *command: str, stdin: str | None = None) -> str:
        commands.append(command)
        return '{"deployment": {}}' if command[1] == "export" else "{}"

    def killed_up(_pulumi: Pulumi, options: Sequence[str]) -> int:
        used.append(yaml.safe_load(Path(options[options.index("--config-file") + 1]).read_text()))
        raise KeyboardInterrupt

    monkeypatch.setattr(Pulumi, "output", output)
    with pytest.raises(KeyboardInterrupt):
        restore(Pulumi("dev"), ["--from", repository.address, "--of", "source"], killed_up)
    # The champions of the backup are still adopted by an `up` after the kill.
    assert [each for each in commands if each[1] in ("set", "rm")] == [
        ("config", "set", "workloads:adopt_champions", "true")
    ]
    settings = {"serving:port": 6005, "workloads:enabled": "false"}
    assert used == [{"encryptionsalt": "v1:salt", "config": settings}]


def test_restore_from_an_incomplete_address_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pulumi, "output", lambda *_command, **_options: "{}")
    with pytest.raises(BackupError, match=r"^FROM=s3:http://host is neither a stack nor an address: write a stack, /f"):
        restore(Pulumi("dev"), ["--from", "s3:http://host"], lambda _pulumi, _options: 0)


def test_restore_of_kubeflow_into_a_stack_without_it_raises(
    repository: BackupRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTIC_PASSWORD", "a-long-password")
    monkeypatch.setattr(Pulumi, "output", lambda *_command, **_options: "{}")
    options = ["--from", repository.address, "--of", "source", "--part", "kubeflow"]
    with pytest.raises(BackupError, match="the stack dev has no running Kubeflow Pipelines; set platform:pipelines"):
        restore(Pulumi("dev"), options, lambda _pulumi, _options: 0)


def test_differences_names_missing_and_changed_records_but_not_new_ones() -> None:
    original = {
        "runs": {"r1": "x", "r2": "y"},
        "versions": {"iris/1": "v"},
        "predictions": {"iris": {"response": "0.1"}},
        "blobs": {"iris.csv": "b"},
    }
    assert list(differences(original, original | {"runs": {"r1": "x", "r2": "y", "r3": "z"}})) == []
    restored = {
        "runs": {"r1": "x"},
        "versions": {"iris/1": "w"},
        "predictions": {"iris": {"response": "0.10"}},
        "blobs": {},
    }
    assert list(differences(original, restored)) == [
        "runs: r2 is missing",
        "versions: iris/1 differs",
        "predictions: iris differs",
        "blobs: iris.csv is missing",
    ]


def test_unchanged_records_leaves_out_what_changed_during_a_copy() -> None:
    before = {"runs": {"ended": "x", "running": "r"}}
    after = {"runs": {"ended": "x", "running": "e", "new": "n"}}
    assert unchanged_records(before, after) == {"runs": {"ended": "x"}}


def test_score_urls_are_those_of_models_with_a_champion() -> None:
    outputs = {
        "model": {"name": "iris", "version": "1"},
        "score_url": "http://a/score",
        "rent_service": {"model": {"name": "rent", "version": "2"}, "score_url": "http://b/score"},
        "new_service": {"model": {"name": "new", "version": ""}, "score_url": "http://c/score"},
    }
    assert score_urls(outputs) == {"iris": "http://a/score", "rent": "http://b/score"}


def test_backup_lines_report_the_age_and_what_is_overdue() -> None:
    record_success("a", BACKUP)
    backup, drill = backup_lines("a")
    assert "UTC, 0 days and 0 hours ago" in backup
    assert "overdue" not in backup
    assert drill == "  drill: none from this computer yet: run `make drill STACK=a`"
    record_file("a", BACKUP).write_text('{"time": "2020-01-01T00:00:00+00:00"}')
    backup, _ = backup_lines("a")
    assert backup.endswith("ago, overdue: run `make backup STACK=a`")


@pytest.mark.parametrize("content", ["", '{"time": "20', "[]", "{}"])
def test_record_that_is_invalid_is_ignored_and_named(content: str, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in (BACKUP, "repository"):
        record_file("a", kind).parent.mkdir(parents=True, exist_ok=True)
        record_file("a", kind).write_text(content)
    backup, _ = backup_lines("a")
    assert backup.endswith("none from this computer yet: run `make backup STACK=a`")
    assert f"{record_file('a', BACKUP)} is no valid record" in capsys.readouterr().err
    open_repository(Mock(address="/backups", **{"identifier.return_value": "1"}), "a")
    assert f"{record_file('a', 'repository')} is no valid record" in capsys.readouterr().err
    record_success("a", BACKUP)
    assert "0 days and 0 hours ago" in next(backup_lines("a"))


def test_record_on_a_full_disk_stays_as_it_was() -> None:
    record_success("a", BACKUP)
    open_repository(Mock(address="/backups", **{"identifier.return_value": "1"}), "a")
    before = {file: file.read_text() for file in record_file("a", BACKUP).parent.iterdir()}
    # As a full disk: files can be opened, not written.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(BackupError, match=r"a\.backup\.json cannot be written: File too large"):
            record_success("a", BACKUP)
        with pytest.raises(BackupError, match=r"a\.repository\.json cannot be written: File too large"):
            open_repository(Mock(address="/backups", **{"identifier.return_value": "1"}), "a")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file: file.read_text() for file in record_file("a", BACKUP).parent.iterdir()} == before


def test_second_backup_or_restore_of_a_stack_at_the_same_time_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them would write and delete the same folder."""
    up = Mock()

    def second(pulumi: Pulumi, *, accept_loss: bool) -> int:
        with pytest.raises(BackupError, match="another backup or restore of the stack a is running"):
            backup_module.backup(pulumi, [])
        with pytest.raises(BackupError, match="another backup or restore of the stack a is running"):
            restore(pulumi, ["--overwrite"], up)
        up.assert_not_called()
        return 0

    monkeypatch.setattr(backup_module, "_save", second)
    assert backup_module.backup(Pulumi("a"), []) == 0


def test_restore_of_a_stack_that_another_pulumi_works_on_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}/state")
    monkeypatch.setattr(Pulumi, "output", lambda *_command, **_options: "{}")
    lock = tmp_path / "state/.pulumi/locks/organization/mlplatform/a/1.json"
    lock.parent.mkdir(parents=True)
    lock.write_text('{"pid": 1, "hostname": "elsewhere", "username": "anna"}')
    with pytest.raises(StackBusy, match="another Pulumi is working on the stack a: process 1 of anna on elsewhere"):
        restore(Pulumi("a"), ["--overwrite"], Mock())
