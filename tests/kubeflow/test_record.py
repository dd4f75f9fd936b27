"""How a run went, from its package and what ML Metadata has of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import pipelines
from workloads.engines.kubeflow.progress import Progress
from workloads.engines.kubeflow.run_graph import RunGraph
from workloads.runs.compile import compiled

from .executions import Laid, iris_external


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    return dict(yaml.safe_load(compiled("iris-external", "image", 0)))


@pytest.mark.parametrize("deployed", [True, False])
def test_outputs_are_those_of_the_branch_that_ran(package: dict[str, Any], deployed: bool) -> None:
    laid = iris_external(deployed)
    outputs = RunGraph(package, laid.executions).outputs(laid.outputs())
    version = "3" if deployed else ""
    assert outputs == {"accuracy": 0.9, "deployed": deployed, "version": version, "decision": "because"}
    assert type(outputs["deployed"]) is bool


def test_steps_have_their_parameters_and_artifacts_as_declared(package: dict[str, Any]) -> None:
    laid = iris_external()
    steps = {step["name"]: step for step in RunGraph(package, laid.executions).steps(laid.outputs())}
    assert list(steps) == ["preprocess-data", "train-model", "test-model", "deploy-model"]
    assert [step["state"] for step in steps.values()] == ["SUCCEEDED", "CACHED", "SUCCEEDED", "SUCCEEDED"]
    assert steps["test-model"]["seconds"] == 3.2
    assert steps["test-model"]["parameters"] == {"Output": 0.9}
    assert steps["test-model"]["artifacts"] == [
        {
            "name": "metrics",
            "type": "system.Metrics",
            "uri": "minio://bucket/metrics",
            "metadata": {"accuracy": 0.9},
        }
    ]
    (model,) = steps["train-model"]["artifacts"]
    assert (model["type"], model["metadata"]) == ("system.Model", {"classes": ["setosa", "virginica"]})


def test_a_step_that_did_not_end_before_its_run_failed(package: dict[str, Any]) -> None:
    laid = Laid()
    root = laid.dag()
    laid.step("preprocess-data", root)
    lost = laid.step("train-model", root, "RUNNING")
    record = RunGraph(package, laid.executions)
    assert [step["state"] for step in record.steps({})] == ["SUCCEEDED", "FAILED"]
    assert (found := record.failed()) is not None
    assert found.id == lost
    laid.step("test-model", root, "FAILED")
    assert (found := RunGraph(package, laid.executions).failed()) is not None
    assert found.id != lost


def test_a_run_that_has_not_begun_has_nothing(package: dict[str, Any]) -> None:
    record = RunGraph(package, [])
    assert (record.steps({}), record.outputs({}), record.failed()) == ([], {}, None)


def test_each_step_is_told_of_once_when_it_begins_and_once_when_it_ends(package: dict[str, Any]) -> None:
    told: list[str] = []
    progress = Progress(told.append)
    running = Laid()
    running.step("preprocess-data", running.dag(), "RUNNING")
    progress.update(RunGraph(package, running.executions))
    progress.update(RunGraph(package, running.executions))
    progress.update(RunGraph(package, iris_external().executions))
    progress.update(RunGraph(package, iris_external().executions))
    assert told == [
        "preprocess-data: started",
        "preprocess-data: SUCCEEDED in 3.2 s",
        "train-model: CACHED in 3.2 s",
        "test-model: SUCCEEDED in 3.2 s",
        "deploy-model: SUCCEEDED in 3.2 s",
        "keep-model: SKIPPED",
    ]


def test_the_turns_of_a_loop_are_collected_in_their_order(tmp_path: Path) -> None:
    laid = Laid()
    loop = laid.dag("for-loop-1", laid.dag(), iteration_count=2)
    for index in (1, 0):
        turn = laid.dag("for-loop-1", loop, iteration_index=index)
        laid.step("measure", turn, outputs={"Output": index + 4})
    record = RunGraph(yaml.safe_load(pipelines.package(pipelines.measuring_all, tmp_path)), laid.executions)
    assert record.outputs({}) == {"Output": [4, 5]}
    assert [step["name"] for step in record.steps({})] == ["measure", "measure"]
