"""Tuning: a search whose run is killed and continued, its trials in MLflow, its pictures, and its error texts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pipelines.conftest import IRIS, prepare_run, run
from workloads import pipelines
from workloads.ml import tracking

SECONDS = 120
TUNE = {
    "estimators": ["forest", "linear"],
    "parameters": {"forest": {"n_estimators": {"integer": [5, 20]}}},
    "parallel": 2,
    "folds": 3,
}


def finished_trials(mlflow_url: str, pipeline: str) -> dict[str, Any]:
    """Return the complete and pruned trials of a pipeline by the id of their run."""
    mlflow = tracking.client(mlflow_url)
    experiment = mlflow.get_experiment_by_name(pipeline)
    found = mlflow.search_runs([experiment.experiment_id], "tags.`tune.trial` != ''") if experiment else []
    return {each.info.run_id: each for each in found if each.data.tags["tune.state"] in ("complete", "pruned")}


def kill_after_trials(command: list[str], mlflow_url: str, pipeline: str, count: int) -> None:
    """Run a pipeline and kill its processes after some trials."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True) as process:
        deadline = time.monotonic() + SECONDS
        while len(finished_trials(mlflow_url, pipeline)) < count:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)


def test_search_of_a_killed_run_continues_with_its_trials(tmp_path: Path, mlflow_url: str) -> None:
    arguments = {"data_url": IRIS.as_uri(), "target": "species", "model_name": "tuned", "tracking_url": mlflow_url}
    first = {**arguments, "tune": {**TUNE, "trials": 60, "parallel": 1}, "run_key": "tuned-1"}
    command = prepare_run(tmp_path / "killed", pipelines.load_pipeline("tuned"), first)
    kill_after_trials(command, mlflow_url, "tuned", 3)
    before = finished_trials(mlflow_url, "tuned")
    total = max(int(each.data.tags["tune.trial"]) for each in before.values()) + 4

    gate = [{"metric": "accuracy", "above": 0.8}]
    tune = {**TUNE, "trials": total}
    ended = run(tmp_path / "run", "tuned", tune=tune, gate=gate, run_key="tuned-2", **arguments)

    assert ended.result["state"] == "SUCCEEDED", ended.log
    assert (ended.outputs["deployed"], ended.outputs["version"]) == (True, "1")
    assert f"{total} trials, {len(before)} of them known" in ended.log
    after = finished_trials(mlflow_url, "tuned")
    assert all(after[name].data.metrics == each.data.metrics for name, each in before.items())
    assert sorted(int(each.data.tags["tune.trial"]) for each in after.values()) == list(range(total))
    assert {each.data.params["estimator"] for each in after.values()} == {"forest", "linear"}
    metrics = ended.artifact("train-best", "metrics")["metadata"]
    complete = [each for each in after.values() if each.data.tags["tune.state"] == "complete"]
    assert metrics["trials_complete"] == len(complete)
    assert metrics["cv_accuracy"] == max(each.data.metrics["accuracy"] for each in complete)

    mlflow = tracking.client(mlflow_url)
    result = SimpleNamespace(succeeded=True, **ended.result)
    parent = tracking.record(mlflow_url, "tuned", "tuned-2", {}, result, {})
    assert {each.data.tags["mlflow.parentRunId"] for each in after.values()} == {parent}
    pictures = {file.path for file in mlflow.list_artifacts(parent, "tuning")}
    assert {"tuning/history.png", "tuning/importances.png", "tuning/parallel_coordinates_forest.png"} < pictures
    best = json.loads(mlflow.get_run(parent).data.tags["tune.best"])
    assert best["estimator"] in ("RandomForestClassifier", "LogisticRegression")
    killed = mlflow.search_runs([mlflow.get_run(parent).info.experiment_id], "tags.pipeline_run = 'tuned-1'")[0]
    assert (killed.info.status, killed.data.tags["continued_by"]) == ("KILLED", parent)
