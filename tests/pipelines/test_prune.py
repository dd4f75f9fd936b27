"""`make prune` on an MLflow server: which runs, versions and files are left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType

from settings.stack import StackSettings
from tests.mlflow_servers import mlflow_server
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention import prune as prune_module
from tools.cli.retention import references, tracking_records
from tools.cli.retention.prune import prune
from workloads.ml.tracking import RUN_KEY_TAG
from workloads.ml.tuning.trial_runs import PARENT

RULES = {"platform": {"keep": {"runs": {"newest": 1}, "versions": {"newest": 1}}}}
STACK = Pulumi("dev")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the stack's runs, and let the stack have rules and no state."""
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path))
    for module in (prune_module, tracking_records):
        monkeypatch.setattr(module, "stack_settings", lambda _: StackSettings.model_validate(RULES))
    monkeypatch.setattr(references, "export_state", lambda _: {"deployment": {"deployment": {}}})
    monkeypatch.setattr(prune_module, "record_action", lambda *_: None)
    return tmp_path / "stacks" / STACK.name / "runs"


@pytest.fixture
def client(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    data = folder.parent / "mlflow"
    data.mkdir(parents=True)
    with mlflow_server(data) as url:
        monkeypatch.setattr(prune_module, "secret_outputs", lambda _: {"tracking_access": {"url": url}})
        yield MlflowClient(url)


def test_prune_leaves_runs_and_versions_in_use_and_a_dry_run_leaves_all(
    folder: Path, client: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = client.create_experiment("iris")
    client.create_registered_model("iris")
    ids: dict[str, str] = {}

    def record(name: str, status: str = "FINISHED", parent: str = "", version: bool = False) -> None:
        tags = {RUN_KEY_TAG: f"iris-{name}"} | ({PARENT: ids[parent]} if parent else {})
        run = client.create_run(experiment, start_time=len(ids) + 1, tags=tags)
        ids[name] = run.info.run_id
        client.log_text(run.info.run_id, name, "note.txt")
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status)
        if version:
            client.create_model_version("iris", f"{run.info.artifact_uri}/model", run.info.run_id)
        (folder / f"iris-{name}").mkdir(parents=True)

    record("champion", version=True)
    client.set_registered_model_alias("iris", "champion", "1")
    record("replaced", version=True)
    record("hidden")
    client.delete_run(ids["hidden"])
    record("active", status="RUNNING")
    record("tuned", status="FAILED")
    record("trial", parent="tuned")
    record("newest", version=True)

    def left() -> tuple[set[str], set[str], set[str], set[str]]:
        runs = {run.info.run_id for run in client.search_runs([experiment], run_view_type=ViewType.ALL)}
        files = {file.parts[-3] for file in folder.parent.glob(f"mlflow/artifacts/{experiment}/*/artifacts/note.txt")}
        names = {name for name, run in ids.items() if run in runs}
        with_files = {name for name, run in ids.items() if run in files}
        versions = {version.version for version in client.search_model_versions("name = 'iris'")}
        return names, with_files, versions, {each.name.removeprefix("iris-") for each in folder.iterdir()}

    every = set(ids)
    assert prune(STACK, ["--dry-run"]) == 0
    plan = "4 runs of `iris`, the first of 1970-01-01\n  versions of the model `iris`: 2\n"
    assert f"Would be deleted by platform:keep:\n  {plan}" in capsys.readouterr().err
    assert left() == (every, every, {"1", "2", "3"}, every)
    assert prune(STACK, []) == 0
    assert f"Deleted by platform:keep:\n  {plan}" in capsys.readouterr().err
    remaining = {"champion", "active", "newest"}
    assert left() == (remaining, remaining, {"1", "3"}, remaining)
    assert prune(STACK, []) == 0
    assert "Deleted by platform:keep:\n  nothing\n" in capsys.readouterr().err
