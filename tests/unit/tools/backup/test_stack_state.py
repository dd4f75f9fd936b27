"""Restores of Pulumi's state and settings, with the Pulumi CLI and a stand-in for restic."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from settings import loading
from tests.harness import CHECKOUT, isolated_environment
from tools.cli import pulumi_command
from tools.cli.backup import stack_state
from tools.cli.backup.errors import BackupError
from tools.cli.backup.restic_repository import BackupRepository, SavedStack
from tools.cli.backup.restore import restore
from tools.cli.backup.stack_state import export_state, import_state, pulumi_config
from tools.cli.door_commands import user
from tools.cli.pulumi_command import Pulumi

PASSWORD = "a-long-password"
CONFIG = """
config:
  infra:machines: lab
  platform:door:
    host: 10.20.0.219
  platform:sample:
    share: 0.5
    nothing: {}
    "on": true
    port: 8443
    hosts: ["10.20.0.1", [{'quote"d.name': x}, {}]]
    texts: {number: "5", boolean: "true", lines: "a\\nb\\n"}
  platform:empty: []
"""


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the Pulumi project, and use it with an empty backend and cache."""
    project = tmp_path / "project"
    project.mkdir()
    shutil.copy(CHECKOUT / "Pulumi.yaml", project)
    for module in (pulumi_command, stack_state, loading):
        monkeypatch.setattr(module, "PROJECT", project)
    use_computer(tmp_path / "old", monkeypatch)
    return project


def use_computer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in isolated_environment(folder).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MLPLATFORM_CACHE", str(folder / "cache"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", folder.name)


@pytest.mark.parametrize(
    ("stack", "uses_passphrase", "types", "reason"),
    [
        ("dev", True, ["infra:LocalProcess"], "has resources in its backend, and a restore never replaces a state"),
        ("other", True, [], "the state is that of stack other; restore it as STACK=other"),
        ("dev", False, [], "the backend of this computer keeps its own copies of states"),
    ],
    ids=["in-use", "another-stack", "service"],
)
def test_import_of_a_state_that_is_not_wanted_here_is_refused_and_writes_nothing(
    stack: str, uses_passphrase: bool, types: list[str], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[str, ...]] = []

    def output(_: Pulumi, *command: str) -> str:
        commands.append(command[:2])
        return json.dumps({"deployment": {"resources": [{"type": each} for each in ("pulumi:pulumi:Stack", *types)]}})

    monkeypatch.setattr(Pulumi, "output", output)
    monkeypatch.setattr(Pulumi, "backend", SimpleNamespace(uses_passphrase=uses_passphrase))
    state = {"stack": stack, "deployment": {"deployment": {}}, "config": {"serving:port": {"value": "5006"}}}
    with pytest.raises(BackupError, match=reason):
        import_state(Pulumi("dev"), state)
    assert set(commands) <= {("stack", "export"), ("config", "--json")}


@pytest.mark.usefixtures("restic")
def test_restored_state_has_objects_with_members_that_can_be_set(
    computer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Pulumi("rv")
    old.output("stack", "select", "--create")
    file = computer / ".stacks/Pulumi.rv.yaml"
    file.write_text(file.read_text() + CONFIG)
    old.output("config", "set", "--path", "--secret", "platform:tracking.password", stdin="s3cret\n\n")
    old.output("config", "set", "--path", "platform:tracking.port", "5001")
    saved = pulumi_config(old)
    repository = BackupRepository(str(tmp_path / "backups"), {"RESTIC_PASSWORD": PASSWORD})
    repository.create()
    repository.save_state(json.dumps(export_state(old)), SavedStack("rv", "id-rv"))

    use_computer(tmp_path / "new", monkeypatch)
    monkeypatch.setenv("RESTIC_PASSWORD", PASSWORD)
    file.unlink()
    new = Pulumi("rv")
    new.output("stack", "select", "--create")
    new.output("config", "set", "--path", "platform:sample.of_the_new_computer", "x")
    arguments = ["--from", repository.address, "--part", "state"]
    assert restore(new, arguments, lambda _pulumi, _options: 0) == 0
    assert pulumi_config(new) == saved
    assert "s3cret" not in file.read_text()

    assert user(new, ["--name", "anna", "--role", "administrator"]) == 0
    door = pulumi_config(new)["platform:door"]["objectValue"]
    assert door["users"]["anna"]["role"] == "administrator"
    assert door | saved["platform:door"]["objectValue"] == door
