"""Graph of a run, from its package and the executions in ML Metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import pipelines
from workloads.engines.kubeflow.run_graph import RunGraph
from workloads.engines.kubeflow.run_progress import RunProgress
from workloads.runs.compile import compile_pipeline

from .executions import FakeRun, iris_external


@pytest.fixture(scope="module")
def package() -> dict[str, Any]:
    return dict(yaml.safe_load(compile_pipeline("iris-external", "image", 0).ir))


@pytest.mark.parametrize("deployed", [True, False])
def test_outputs_of_a_condition_are_from_the_executed_branch(package: dict[str, Any], deployed: bool) -> None:
    fake_run = iris_external(deployed)
    outputs = RunGraph(package, fake_run.executions).outputs(fake_run.outputs())
    version = "3" if deployed else ""
    assert outputs == {"accuracy": 0.9, "deployed": deployed, "version": version, "decision": "because"}
    assert type(outputs["deployed"]) is bool


def test_steps_of_a_run_have_the_declared_parameters_and_artifacts(package: dict[str, Any]) -> None:
    fake_run = iris_external()
    steps = {step["name"]: step for step in RunGraph(package, fake_run.executions).steps(fake_run.outputs())}
    assert list(steps) == ["preprocess-data", "train-model", "test-model", "deploy-model"]
    assert [step["state"] for step in steps.values()] == ["SUCCEEDED", "CACHED", "SUCCEEDED", "SUCCEEDED"]
    assert steps["test-model"]["seconds"] == 3.2
    assert steps["test-model"]["parameters"] == {"passed": True, "comparison": "none"}
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


def test_failed_with_an_unfinished_step_returns_it(package: dict[str, Any]) -> None:
    fake_run = FakeRun()
    root = fake_run.dag()
    fake_run.step("preprocess-data", root)
    lost_step = fake_run.step("train-model", root, "RUNNING")
    graph = RunGraph(package, fake_run.executions)
    assert [step["state"] for step in graph.steps({})] == ["SUCCEEDED", "FAILED"]
    assert (failed := graph.failed()) is not None
    assert failed.id == lost_step
    fake_run.step("test-model", root, "FAILED")
    assert (failed := RunGraph(package, fake_run.executions).failed()) is not None
    assert failed.id != lost_step


def test_graph_without_executions_is_empty(package: dict[str, Any]) -> None:
    graph = RunGraph(package, [])
    assert (graph.steps({}), graph.outputs({}), graph.failed()) == ([], {}, None)


def test_progress_update_logs_start_and_end_of_each_step_once(package: dict[str, Any]) -> None:
    lines: list[str] = []
    progress = RunProgress(lines.append)
    running = FakeRun()
    running.step("preprocess-data", running.dag(), "RUNNING")
    progress.update(RunGraph(package, running.executions))
    progress.update(RunGraph(package, running.executions))
    progress.update(RunGraph(package, iris_external().executions))
    progress.update(RunGraph(package, iris_external().executions))
    assert lines == [
        "preprocess-data: started",
        "preprocess-data: SUCCEEDED in 3.2 s",
        "train-model: CACHED in 3.2 s",
        "test-model: SUCCEEDED in 3.2 s",
        "deploy-model: SUCCEEDED in 3.2 s",
        "keep-model: SKIPPED",
    ]


def test_step_name_of_a_step_in_a_loop_and_a_pipeline_is_unique(package: dict[str, Any]) -> None:
    fake_run = FakeRun()
    outer = fake_run.dag("for-loop-1", fake_run.dag(), iteration_count=2)
    inner = fake_run.dag("prepare", fake_run.dag("for-loop-1", outer, iteration_index=1))
    loop = fake_run.dag("for-loop-2", fake_run.dag("condition-3", inner), iteration_count=1)
    fake_run.step("train", fake_run.dag("for-loop-2", loop, iteration_index=0))
    assert RunGraph(package, fake_run.executions).step_name(fake_run.executions[-1]) == "prepare/train:1.0"


def test_outputs_of_a_loop_are_in_the_order_of_its_iterations(tmp_path: Path) -> None:
    fake_run = FakeRun()
    loop = fake_run.dag("for-loop-1", fake_run.dag(), iteration_count=2)
    for index in (1, 0):
        iteration = fake_run.dag("for-loop-1", loop, iteration_index=index)
        fake_run.step("measure", iteration, outputs={"Output": index + 4})
    graph = RunGraph(yaml.safe_load(pipelines.package(pipelines.measuring_all, tmp_path)), fake_run.executions)
    assert graph.outputs({}) == {"Output": [4, 5]}
    assert [step["name"] for step in graph.steps({})] == ["measure:1", "measure:0"]
