"""Runs and model versions that `make prune` never deletes, by Pulumi's state, the settings and other stacks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from settings.stack import StackSettings
from tools.bootstrap import stacks
from tools.cli import written_settings
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention import references
from tools.cli.retention.deletion_plan import RunRecord, VersionRecord
from tools.cli.retention.references import kept_items
from tools.cli.retention.tracking_records import TrackingRecords

NOW = datetime(2026, 6, 1, tzinfo=UTC)
RECORDS = TrackingRecords(
    Pulumi("dev"),
    "",
    None,
    {},
    [RunRecord(each, "iris", NOW) for each in ("mlflow-1", "mlflow-2")],
    [VersionRecord("iris", each, NOW) for each in ("1", "2", "3")],
    {"mlflow-1": "iris-1", "mlflow-2": ""},
)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with the stacks' files, and let Pulumi's state be empty."""
    (tmp_path / ".stacks").mkdir()
    for module in (stacks, written_settings):
        monkeypatch.setattr(module, "PROJECT", tmp_path)
    state_of(monkeypatch)
    return tmp_path


def state_of(monkeypatch: pytest.MonkeyPatch, *resources: dict[str, Any]) -> None:
    state = {"deployment": {"deployment": {"resources": list(resources)}}}
    monkeypatch.setattr(references, "export_state", lambda _: state)


def pipeline_run(run_id: str, version: str, **arguments: str) -> dict[str, Any]:
    outputs = {"version": version} if version else {}
    return {
        "type": "pulumi-python:dynamic/workloads:PipelineRun",
        "outputs": {
            "run_id": run_id,
            "arguments": arguments,
            "platform": {"model_name": "iris"},
            "outputs": outputs,
        },
    }


def settings(**namespaces: Any) -> StackSettings:
    return StackSettings.model_validate(namespaces)


def test_kept_items_of_a_stack_without_references_are_none(project: Path) -> None:
    kept = kept_items(Pulumi("dev"), settings(), RECORDS)
    assert (set(kept.runs), set(kept.versions)) == (set(), set())


def test_kept_items_have_the_runs_and_versions_of_the_state(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = {"type": "pulumi-python:dynamic/workloads:PipelineRun"}
    other = {"type": "pulumi-python:dynamic/workloads:Champion", "outputs": {"run_id": "none", "version": "3"}}
    state_of(
        monkeypatch,
        pipeline_run("iris-1", "2", model_name="iris"),
        pipeline_run("iris-2", "4"),  # the pipeline has no parameter `model_name`
        pipeline_run("", ""),
        failed,
        other,
    )
    kept = kept_items(Pulumi("dev"), settings(), RECORDS)
    assert set(kept.runs) == {"iris-1", "iris-2", "mlflow-1"}
    assert set(kept.versions) == {"iris/2", "iris/4"}


def test_kept_items_of_a_run_with_another_model_in_its_parameters_have_that_model(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state_of(monkeypatch, pipeline_run("iris-1", "2", model_name="flowers"))
    assert set(kept_items(Pulumi("dev"), settings(), RECORDS).versions) == {"flowers/2"}


def test_kept_items_have_the_versions_of_the_settings(project: Path) -> None:
    pipelines = {
        "served": {"serve": True, "model": "iris"},
        "pinned": {"serve": True, "port": 5006, "version": 3},
        "further": {"serve": True, "port": 5007},
        "unserved": {},
    }
    configured = settings(
        infra={"cluster": "kubeadm", "machines": "lab", "lab": {"size": 3}},
        platform={"pipelines": "job"},
        serving={"canary": {"version": 2}},
        workloads={"pipelines": pipelines},
    )
    assert set(kept_items(Pulumi("dev"), configured, RECORDS).versions) == {"pinned/3", "iris/2"}


@pytest.mark.parametrize("source", ["dev", "organization/mlplatform/dev"])
@pytest.mark.parametrize("folder", ["", ".stacks/"])
def test_kept_items_of_a_stack_whose_models_another_one_copies_have_all_versions(
    project: Path, source: str, folder: str
) -> None:
    (project / f"{folder}Pulumi.lab.yaml").write_text(f"config: {{workloads:models_from: {source}}}\n")
    assert set(kept_items(Pulumi("dev"), settings(), RECORDS).versions) == {"iris/1", "iris/2", "iris/3"}
    assert set(kept_items(Pulumi("other"), settings(), RECORDS).versions) == set()
