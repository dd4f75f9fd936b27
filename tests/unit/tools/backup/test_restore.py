"""Restores whose `up` fails, that are repeated, or that meet another command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import pytest
from azure.core.exceptions import ServiceRequestError

from settings.stack import StackSettings
from tests.store_servers import BLOB_KEY
from tools.cli.backup import restore as module
from tools.cli.backup import unfinished_restore
from tools.cli.backup.contents.local_data import stack_folder
from tools.cli.backup.errors import BackupError
from tools.cli.backup.restic_repository import DATA, BackupRepository, SavedStack, Snapshot
from tools.cli.backup.restore import replace_kubeflow_data, restore_data
from tools.cli.backup.unfinished_restore import ADOPT, require_loaded_data
from tools.cli.cluster_access import AccessError
from tools.cli.pulumi_command import Pulumi

MLFLOW = {"type": "pulumi-python:infra:LocalProcess", "urn": "a::mlflow", "inputs": {}}
SNAPSHOT = Snapshot("1", "old", "id-1", DATA, datetime(2026, 11, 28, tzinfo=UTC))


def token(team: str = "") -> dict[str, Any]:
    account = {"account_url": "http://127.0.0.1:10000/account", "account_key": BLOB_KEY, "container": "data"}
    name = f"{team}/blob-token" if team else "blob-token"
    return {"type": "pulumi-python:platform:ContainerToken", "urn": f"a::{name}", "inputs": account}


class NewStack:
    """A stack without resources, and a backup of another one with a run and a blob."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pulumi = Pulumi("new")
        self.resources: list[dict[str, Any]] = []
        self.config: dict[str, str] = {}
        self.outputs: dict[str, Any] = {}
        self.cluster = "none"
        self.containers = ["container"]
        self.ups: list[str] = []
        self.results: list[tuple[int, list[dict[str, Any]]]] = []
        """Exit codes of each `up`, and the resources after it."""
        self.uploaded: list[str] = []
        self.loaded: list[str] = []
        monkeypatch.setattr(Pulumi, "output", self._output)
        monkeypatch.setattr(module, "write_config_copy", lambda *_: None)
        monkeypatch.setattr(module, "upload_container", lambda _, folder: self.uploaded.append(folder.name))
        monkeypatch.setattr(module, "replace_cluster_data", lambda kubeconfig, _: self.loaded.append(kubeconfig))
        for each in (module, unfinished_restore):
            monkeypatch.setattr(each, "stack_settings", lambda _: self._settings())
            monkeypatch.setattr(each, "secret_outputs", lambda _: self.outputs)
        self.has_cluster_data = Mock(return_value=False)
        monkeypatch.setattr(unfinished_restore, "has_cluster_data", self.has_cluster_data)

    def restore(self, *, overwrite: bool = False) -> int:
        repository = cast(BackupRepository, Mock(latest=lambda *_, **__: SNAPSHOT, restore=self._write))
        code, _ = restore_data(self.pulumi, repository, SavedStack("old"), overwrite=overwrite, up=self._up)
        return code

    def _write(self, _: Snapshot, folder: Path) -> None:
        (folder / "manifest.json").write_text("{}")
        (folder / "mlflow").mkdir()
        (folder / "mlflow/mlflow.db").write_text("database of the backup")
        for name in self.containers:
            (folder / name).mkdir(parents=True)
            (folder / name / "iris.csv").write_text("1")

    def _up(self, _: Pulumi, options: Sequence[str]) -> int:
        self.ups.append("services" if options else "all")
        code, self.resources = self.results.pop(0)
        if code == 0 and self.cluster != "none":
            self.outputs = {"kubeconfig": "k"}
        return code

    def _settings(self) -> StackSettings:
        return StackSettings.model_construct(
            infra=Mock(cluster=self.cluster), platform=Mock(tracking=Mock(database_url=None, artifacts=None))
        )

    def _output(self, *command: str, stdin: str | None = None) -> str:
        if command[:2] == ("config", "set"):
            self.config[command[2]] = command[3]
        elif command[:2] == ("config", "rm"):
            del self.config[command[2]]
        elif command[:2] == ("stack", "export"):
            return json.dumps({"deployment": {"resources": self.resources}})
        return json.dumps({name: {"value": value} for name, value in self.config.items()})


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewStack:
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    return NewStack(monkeypatch)


@pytest.fixture
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azure.storage.blob.ContainerClient.exists", lambda _: True)


@pytest.mark.usefixtures("reachable")
@pytest.mark.parametrize("cluster", ["none", "kubeadm"])
def test_restore_that_is_repeated_after_its_first_up_failed_uploads_the_blobs(stack: NewStack, cluster: str) -> None:
    stack.cluster = cluster
    # A port was taken: MLflow is up, the store of blobs is not.
    stack.results = [(1, [MLFLOW]), (0, [MLFLOW, token()]), (0, [MLFLOW, token()])]
    assert stack.restore() == 1
    assert ADOPT in stack.config
    assert stack.restore(overwrite=True) == 0
    assert stack.ups == ["services", "services", "all"]
    assert stack.uploaded == ["container"]
    assert stack.loaded == ([] if cluster == "none" else ["k"])
    assert stack.config == {}


@pytest.mark.usefixtures("reachable")
def test_restore_into_a_stack_without_a_container_for_the_blobs_is_refused(stack: NewStack) -> None:
    stack.results = [(0, [MLFLOW])]
    with pytest.raises(BackupError, match=r"has 1 blobs in its folder container, .* Set platform:blobs, and try again"):
        stack.restore()
    stack.containers = ["team-containers/shop"]
    stack.results = [(0, [MLFLOW, token()])]
    with pytest.raises(BackupError, match=r"team-containers/shop, .* Set the team shop in workloads:teams and"):
        stack.restore(overwrite=True)
    assert stack.uploaded == []


@pytest.mark.parametrize("cluster", ["none", "kubeadm"])
def test_restore_into_a_stack_with_data_is_refused_and_leaves_them(stack: NewStack, cluster: str) -> None:
    stack.cluster = cluster
    database = stack_folder("new") / "mlflow/mlflow.db"
    if cluster == "none":
        database.parent.mkdir(parents=True)
        database.write_text("data of the stack")
    else:
        stack.outputs = {"kubeconfig": "k"}
        stack.has_cluster_data.return_value = True
    with pytest.raises(BackupError, match=r"MLflow of the stack new has data already; .* add OVERWRITE=yes"):
        stack.restore()
    assert cluster != "none" or database.read_text() == "data of the stack"
    assert (stack.ups, stack.loaded, stack.uploaded) == ([], [], [])


def test_restore_of_kubeflow_pipelines_with_runs_is_refused_and_leaves_them(
    stack: NewStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = Mock(**{"has_runs.return_value": True})
    monkeypatch.setattr(module, "kubeflow_data", lambda *_: data)
    with pytest.raises(BackupError, match="Kubeflow Pipelines of the stack new has runs already; add OVERWRITE=yes"):
        replace_kubeflow_data(stack.pulumi, Mock(), SavedStack("old"), overwrite=False)
    data.replace.assert_not_called()


def test_restore_after_a_restart_of_the_computer_is_refused_before_it_changes_data(
    stack: NewStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Mock(side_effect=ServiceRequestError("connection refused"))
    monkeypatch.setattr("azure.storage.blob.ContainerClient.exists", refused)
    stack.resources = [MLFLOW, token()]
    database = stack_folder("new") / "mlflow/mlflow.db"
    database.parent.mkdir(parents=True)
    database.write_text("data of the stack")
    with pytest.raises(BackupError, match=r"data cannot be read: connection refused\. .* are down, run `make up`"):
        stack.restore(overwrite=True)
    assert database.read_text() == "data of the stack"
    assert stack.ups == []


@pytest.mark.usefixtures("reachable")
def test_restore_of_a_complete_stack_leaves_its_workloads_running(stack: NewStack) -> None:
    stack.resources = [MLFLOW, token()]
    stack.results = [(0, stack.resources)]
    assert stack.restore() == 0
    assert stack.ups == ["all"]
    assert stack.uploaded == ["container"]


def test_up_after_an_unfinished_restore_is_refused_until_mlflow_of_the_cluster_has_the_data(stack: NewStack) -> None:
    stack.config[ADOPT] = "true"
    require_loaded_data(stack.pulumi)  # without a cluster, the data are in their place before the first `up`
    stack.cluster = "kubeadm"
    with pytest.raises(BackupError, match=r"and MLflow has no data yet\. .* Repeat `make restore STACK=new` with its"):
        require_loaded_data(stack.pulumi)
    stack.outputs = {"kubeconfig": "k"}
    stack.has_cluster_data.side_effect = AccessError("no route to host")
    with pytest.raises(BackupError, match="MLflow does not respond: no route to host"):
        require_loaded_data(stack.pulumi)
    stack.has_cluster_data.side_effect = None
    stack.has_cluster_data.return_value = True
    require_loaded_data(stack.pulumi)
    stack.config.clear()
    stack.has_cluster_data.return_value = False
    require_loaded_data(stack.pulumi)
