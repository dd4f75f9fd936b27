"""Snapshots and the repository of a stack among those of others, with a stand-in for restic."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from settings.stack import StackSettings
from tools.cli.backup import backup as backup_module
from tools.cli.backup import chosen_backup
from tools.cli.backup import restore as restore_module
from tools.cli.backup.backup import backup
from tools.cli.backup.contents.bucket_copy import OBJECTS
from tools.cli.backup.errors import BackupError, RepositoryLocked
from tools.cli.backup.losses import MANIFEST, lost_kinds
from tools.cli.backup.restic_repository import IDENTITY, STATE, BackupRepository
from tools.cli.backup.restore import restore
from tools.cli.pulumi_command import Pulumi

PASSWORD = "a-long-password"
STATE_OF_A_STACK = {"deployment": {"deployment": {"resources": [{"type": "mlplatform:index:Platform"}]}}}


class Person:
    """A person with a cache and a stack `dev`, whose settings name the target that all persons have."""

    def __init__(self, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = name
        self.cache = folder / name
        self.target = folder / "backups"
        self.config: dict[str, str] = {}
        self.found: dict[str, Any] = {"runs": {}, "versions": {}, "predictions": {}, "blobs": {}, OBJECTS: {}}
        self.restored = ""
        self.keep = 1
        self._monkeypatch = monkeypatch

    def backup(self, *options: str) -> int:
        self._sit_down()
        return backup(Pulumi("dev"), [*options])

    def restore(self, *options: str) -> str:
        """Restore the state, and return the person whose state it is."""
        self._sit_down()
        assert restore(Pulumi("dev"), ["--part", STATE, *options], lambda _pulumi, _options: 0) == 0
        return self.restored

    def _sit_down(self) -> None:
        """Let the commands read this person's stack."""
        replace = self._monkeypatch.setattr
        self._monkeypatch.setenv("MLPLATFORM_CACHE", str(self.cache))
        replace(Pulumi, "output", self._output)
        for module in (backup_module, chosen_backup, restore_module):
            replace(module, "stack_settings", lambda _: self._settings())
            replace(module, "secret_outputs", lambda _: {"tracking_access": {}}, raising=False)
        replace(backup_module, "_collect", self._collect)
        replace(backup_module, "export_state", lambda _: {**STATE_OF_A_STACK, "of": self.name})
        replace(restore_module, "import_state", lambda _, state: setattr(self, "restored", state["of"]))
        replace(restore_module, "record_action", lambda *_: None)

    def _collect(self, *arguments: Any) -> dict[str, Any]:
        (arguments[-1] / MANIFEST).write_text(json.dumps(self.found))
        return self.found

    def _settings(self) -> StackSettings:
        section = {"target": str(self.target), "password": PASSWORD, "keep": {"last": self.keep}}
        own = {name.removeprefix("platform:"): value for name, value in self.config.items()}
        return StackSettings.model_validate({"platform": {"backup": section, **own}})

    def _output(self, *command: str, stdin: str | None = None) -> str:
        if command[:2] == ("config", "set"):
            self.config[command[2]] = command[3]
        return json.dumps({name: {"value": value} for name, value in self.config.items()})


@pytest.fixture
def person(restic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Person]:
    """Return a function that makes a person."""
    return lambda name: Person(name, tmp_path, monkeypatch)


def snapshots(target: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sorted(target.glob("*/snapshot.json"))]


def make_earlier(target: Path) -> None:
    """Make all snapshots those of an earlier version, which had no identities."""
    for file in target.glob("*/snapshot.json"):
        snapshot = json.loads(file.read_text())
        file.write_text(json.dumps(snapshot | {"tags": [tag for tag in snapshot["tags"] if IDENTITY not in tag]}))


def test_stacks_of_two_persons_with_one_name_keep_and_restore_separate_snapshots(
    person: Callable[[str], Person],
) -> None:
    anna, bert = person("anna"), person("bert")
    assert anna.backup() == 0
    with pytest.raises(BackupError, match=r"a stack with the name dev already, with the identity id-\w+\. If they are"):
        bert.backup()
    assert anna.restore() == "anna"
    bert.config["platform:backup_identity"] = "bert"
    with pytest.raises(BackupError, match=r"backups of stacks with the name dev and these identities: id-"):
        bert.restore()
    for each in (bert, anna):
        assert each.backup() == 0
    assert len(snapshots(anna.target)) == 4
    assert [anna.restore(), bert.restore()] == ["anna", "bert"]


def test_restore_that_is_ambiguous_is_refused_and_takes_an_identity(
    person: Callable[[str], Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, bert, new = person("anna"), person("bert"), person("new")
    anna.backup()
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    address = ("--from", str(anna.target), "--of", "dev")
    assert new.restore(*address) == "anna"
    bert.config["platform:backup_identity"] = "bert"
    bert.backup()
    with pytest.raises(BackupError, match=r"identities: id-\w+ \(the last of .* UTC\), bert \(the last of"):
        new.restore(*address)
    assert new.restore(*address, "--identity", "bert") == "bert"
    assert new.restore(*address, "--identity", anna.config["platform:backup_identity"]) == "anna"


def test_snapshots_of_earlier_versions_are_restored_where_no_other_stack_has_the_name(
    person: Callable[[str], Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    anna, new = person("anna"), person("new")
    anna.backup()
    make_earlier(anna.target)
    assert [anna.restore(), new.restore()] == ["anna", "anna"]
    with pytest.raises(BackupError, match=r"--identity elsewhere: .* these identities: none"):
        new.restore("--identity", "elsewhere")
    new.backup()
    assert new.restore() == "new"
    assert len(snapshots(anna.target)) == 4
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    address = ("--from", str(anna.target), "--of", "dev")
    with pytest.raises(BackupError, match=r"identities: none \(the last of"):
        new.restore(*address)
    with pytest.raises(BackupError, match=r"--identity elsewhere: .* these identities: id-\w+, none"):
        new.restore(*address, "--identity", "elsewhere")
    assert new.restore(*address, "--identity", "none") == "anna"


def test_backup_to_a_folder_whose_disk_is_not_mounted_is_refused(person: Callable[[str], Person]) -> None:
    anna = person("anna")
    anna.backup()
    anna.target.rename(anna.cache / "disk")
    with pytest.raises(BackupError, match=r"backups has no backups any more\. Is the disk mounted") as refused:
        anna.backup()
    assert not anna.target.exists()
    record = Path(str(refused.value).rpartition("delete ")[2])
    record.unlink()
    assert anna.backup() == 0
    shutil.rmtree(anna.target)
    (anna.cache / "disk").rename(anna.target)
    with pytest.raises(BackupError, match="has other backups than before"):
        anna.backup()


def test_backup_is_saved_if_outdated_ones_cannot_be_deleted(
    person: Callable[[str], Person], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    anna = person("anna")
    locked = RepositoryLocked("another program uses the backups")
    monkeypatch.setattr(BackupRepository, "delete_outdated", Mock(side_effect=locked))
    assert anna.backup() == 0
    output = capsys.readouterr().err
    assert "The outdated backups stay until the next backup: another program uses the backups" in output
    assert "Saved 1 files" in output


def test_backup_to_another_target_creates_it(person: Callable[[str], Person], tmp_path: Path) -> None:
    anna = person("anna")
    anna.backup()
    anna.target = tmp_path / "other"
    assert anna.backup() == 0
    assert len(snapshots(anna.target)) == 2


def test_backup_of_a_stack_that_lost_its_data_is_refused_until_the_loss_is_accepted(
    person: Callable[[str], Person],
) -> None:
    anna = person("anna")
    anna.found |= {"runs": {"1": "a", "2": "b"}, "versions": {"iris/1": "c"}, OBJECTS: {"container": 2}}
    anna.backup()
    kept = snapshots(anna.target)
    anna.found |= {"runs": {}, "versions": {}, OBJECTS: {"container": 0}}
    lost = "nothing left of what its last backup of .* UTC has: 2 runs, 1 versions, 2 objects in container"
    with pytest.raises(BackupError, match=lost):
        anna.backup()
    assert snapshots(anna.target) == kept
    assert anna.backup("--accept-loss") == 0
    assert anna.backup() == 0


def test_loss_of_all_blobs_is_found_in_manifests_of_earlier_versions() -> None:
    last: dict[str, Any] = {"runs": {"1": "a"}, "blobs": {"iris.csv": "b"}, "predictions": {"iris": "p"}}
    found: dict[str, Any] = {"runs": {"2": "a"}, "blobs": {}, "predictions": {}, OBJECTS: {"container": 0}}
    assert list(lost_kinds(last, found)) == ["1 blobs"]
    # A team that has left, and a first pipeline of Kubeflow, are no loss.
    assert list(lost_kinds({OBJECTS: {"team-containers/shop": 4}}, {OBJECTS: {"kubeflow/objects": 0}})) == []


def test_restore_takes_the_backup_of_a_time_of_the_list(
    person: Callable[[str], Person], capsys: pytest.CaptureFixture[str]
) -> None:
    anna = person("before the loss")
    anna.keep = 2
    anna.config["platform:backup_identity"] = "anna"
    times = ["2026-11-28T20:15:40+00:00", "2026-11-28T22:16:00+01:00"]
    for name, time in zip(("before the loss", "after the loss"), times, strict=True):
        anna.name = name
        anna.backup()
        for file in anna.target.glob("*/snapshot.json"):
            snapshot = json.loads(file.read_text())
            if snapshot["time"] not in times:
                file.write_text(json.dumps(snapshot | {"time": time}))
    assert anna.restore() == "after the loss"
    assert anna.restore("--at", "2026-11-28T20:15") == "before the loss"
    assert anna.restore("--at", "2026-11-28T21:15") == "before the loss"
    assert anna.restore("--at", "2026-11-28T21:16") == "after the loss"
    with pytest.raises(BackupError, match=r"--at 2026-11-28T20:14: the first backup .* is of 2026-11-28T20:15 UTC"):
        anna.restore("--at", "2026-11-28T20:14")
    capsys.readouterr()
    anna.restore("--list")
    assert sorted(capsys.readouterr().out.splitlines()) == [
        "2026-11-28T20:15  data   identity anna",
        "2026-11-28T20:15  state  identity anna",
        "2026-11-28T21:16  data   identity anna",
        "2026-11-28T21:16  state  identity anna",
    ]
