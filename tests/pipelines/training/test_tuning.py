"""Tuning: a search whose run is killed and continued, its trials in MLflow, its pictures, and its error texts."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.pipelines.conftest import IRIS, prepare_run, run
from tests.pipelines.flats import COLUMNS, flats_csv
from tests.pipelines.training.test_anomaly import pumps
from workloads import pipelines
from workloads.ml import tracking
from workloads.ml.data import table
from workloads.ml.data.scan import table_scan
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import load_model_directory
from workloads.ml.tuning import trial_worker
from workloads.ml.tuning.result import fit_best
from workloads.ml.tuning.search import Search, plan_search
from workloads.ml.tuning.search_space import arguments, grid, search_spaces
from workloads.ml.tuning.trial_runs import TrialRuns, TrialStatus
from workloads.ml.tuning.trial_worker import TrialWorker

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
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + SECONDS
        while len(finished_trials(mlflow_url, pipeline)) < count:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.terminate()  # it kills its steps and itself


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


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return training parts by task; the columns have all types, and missing values."""
    folder = tmp_path_factory.mktemp("parts")
    files = {"classification": ("fast", "price"), "regression": ("price", "fast")}
    for task, (target, other) in files.items():
        parsed = table_scan.parse(flats_csv(), target, columns={**COLUMNS, other: "ignore"}, task=task)
        table.save_table(str(folder / task), parsed, np.ones(len(parsed.labels), dtype=bool))
    return {task: str(folder / task) for task in files}


def plan(mlflow_url: str, part: str, name: str, tune: dict[str, Any]) -> Search:
    """Return a search in the experiment `name`."""
    run = tracking.find_or_create_run(tracking.client(mlflow_url), name, f"{name}-1")
    return plan_search(part, tune, 0, run.info.experiment_id, run.info.run_id)


def test_pipeline_tuned_regression_deploys_the_best_estimator(tmp_path: Path, mlflow_url: str) -> None:
    lines = [f"{row},{row % 7},{3 * row + row % 7}" for row in range(70)]
    (tmp_path / "homes.csv").write_text("\n".join(["area,rooms,price", *lines]))
    data = {"data_url": str(tmp_path / "homes.csv"), "target": "price"}
    registry = {"model_name": "tuned-price", "tracking_url": mlflow_url, "run_key": "tuned-price-1"}
    tune = {"estimators": ["Ridge", "DummyRegressor"], "trials": 2, "parallel": 1, "sampler": "grid"}
    ended = run(
        tmp_path / "run", "tuned-regression", tune=tune, gate=[{"metric": "r2", "above": 0.9}], **data, **registry
    )
    assert (ended.code, ended.result["error"]) == (0, "")
    assert ended.outputs["deployed"]
    assert ended.outputs["version"] == "1"


def test_grid_over_regressions_trains_the_best_and_records_failed_trials(
    tmp_path: Path, mlflow_url: str, parts: dict[str, str]
) -> None:
    parameters = {
        "linear": {"alpha": {"number": [0.1, 10], "scale": "log", "points": 2}},
        "KNeighborsRegressor": {"n_neighbors": [3.0, 500.0], "weights": ["uniform"]},
    }
    tune = {"estimators": list(parameters), "parameters": parameters, "sampler": "grid", "folds": 2, "metric": "mae"}
    search = plan(mlflow_url, parts["regression"], "grid", tune)
    assert (search.trials, search.maximize) == (4, False)
    assert TrialWorker(search, parts["regression"], mlflow_url, 0).run() == 4
    assert TrialWorker(search, parts["regression"], mlflow_url, 1).run() == 0
    trials = TrialRuns(mlflow_url, search).load()
    tried = {(each.parameters["estimator"], *arguments(each.parameters).values()) for each in trials}
    assert tried == {("linear", 0.1), ("linear", 10), *(("KNeighborsRegressor", n, "uniform") for n in (3, 500))}
    (failed,) = (each for each in trials if each.state is TrialStatus.FAILED)
    error = tracking.client(mlflow_url).get_run(failed.run_id).data.tags["error"]
    assert "KNeighborsRegressor" in error
    assert "n_neighbors" in error
    best = min((each for each in trials if each.means), key=lambda each: each.means[-1])

    result = fit_best(search, parts["regression"], tmp_path / "model", "flats", mlflow_url)
    assert result.metrics["cv_mae"] == best.means[-1]
    assert (result.metrics["trials_complete"] + result.metrics["trials_pruned"], result.metrics["trials_failed"]) == (
        3,
        1,
    )
    assert load_model_directory(tmp_path / "model").signature["task"] == "regression"


def test_claim_of_a_number_that_another_worker_has_is_abandoned(mlflow_url: str, parts: dict[str, str]) -> None:
    search = plan(mlflow_url, parts["classification"], "claim", {"estimators": ["linear"], "trials": 2})
    runs = TrialRuns(mlflow_url, search)
    parameters = {"estimator": "linear", "linear.C": 1.0, "linear.max_iter": 1000}
    first = runs.claim(0, 0, parameters)
    assert first
    assert runs.claim(0, 1, parameters) is None
    assert [each.run_id for each in runs.load()] == [first.run_id]
    assert runs.free_number(runs.load()) == 1
    runs.release(1)
    assert runs.free_number(runs.load()) == 1
    runs.release(0)
    assert runs.load() == []


@pytest.mark.parametrize("end", ["in MLflow's pages", "for good"])
def test_trials_of_a_killed_run_that_was_deleted_move_to_the_next_run(
    mlflow_url: str, parts: dict[str, str], end: str
) -> None:
    name = f"deleted {end[:2]}"
    following = plan(mlflow_url, parts["classification"], name, {"estimators": ["linear"], "trials": 3})
    mlflow = tracking.client(mlflow_url)
    killed = "0" * 32 if end == "for good" else mlflow.create_run(following.experiment_id).info.run_id
    runs = TrialRuns(mlflow_url, replace(following, run_id=killed))
    parameters = {"estimator": "linear", "linear.C": 1.0, "linear.max_iter": 1000}
    complete, running = (runs.claim(number, 0, parameters) for number in range(2))
    assert complete
    assert running
    runs.finish(complete, TrialStatus.COMPLETE, [0.9])
    if end != "for good":
        mlflow.delete_run(killed)

    known = TrialRuns(mlflow_url, following)
    assert known.take_over() == 1
    (trial,) = known.load()
    assert (trial.run_id, trial.parent, trial.means) == (complete.run_id, following.run_id, [0.9])
    assert mlflow.get_run(running.run_id).info.status == "KILLED"


def test_search_whose_time_ends_in_a_trial_abandons_it_after_its_fold(
    tmp_path: Path, mlflow_url: str, parts: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = parts["classification"]
    search = replace(plan(mlflow_url, part, "late", {"estimators": ["linear"], "minutes": 0.5}), deadline=5.0)
    clock = iter([0.0, 9.0, 9.0])  # before the trial, after its first fold, before the next trial
    monkeypatch.setattr(trial_worker, "time", SimpleNamespace(time=lambda: next(clock)))
    assert TrialWorker(search, part, mlflow_url, 0).run() == 0
    assert TrialRuns(mlflow_url, search).load() == []
    with pytest.raises(StepError, match=r"^tune\.minutes: 0\.5; no trial ended in this time"):
        fit_best(search, part, tmp_path / "model", "flats", mlflow_url)


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"metric": "rmse"}, "tune.metric: a classification has no rmse; its metrics are: accuracy, precision"),
        ({"tries": 5}, "tune.tries: Extra inputs are not permitted"),
        ({"estimators": ["forrest"]}, "tune.parameters.forrest: estimator: there is no 'forrest' in sklearn"),
        (
            {"parameters": {"linear": {"c": [1]}}},
            "tune.parameters.linear: parameters: LogisticRegression has no c; it has: C,",
        ),
        (
            {
                "sampler": "grid",
                "parameters": {"forest": {"n_estimators": {"integer": [1, 2000], "points": 100}, "max_depth": [3, 9]}},
            },
            "tune: the grid has 1884 combinations; set trials to at most 1000, or fewer values",
        ),
    ],
)
def test_plan_with_invalid_setting_names_it(parts: dict[str, str], tune: dict[str, Any], message: str) -> None:
    with pytest.raises(StepError) as refused:
        plan_search(parts["classification"], tune, 0, "", "")
    assert message in str(refused.value)


def test_plan_with_more_folds_than_rows_of_a_class_raises_error(tmp_path: Path) -> None:
    parsed = table_scan.parse(
        b"a,kind\n" + b"".join(b"%d.5,%s\n" % (n, b"xxxxxy"[n % 6 :][:1]) for n in range(36)), "kind"
    )
    table.save_table(str(tmp_path / "part"), parsed, np.ones(36, dtype=bool))
    with pytest.raises(StepError, match=r"^tune\.folds: 7; the rarest class has 6 rows; set fewer folds"):
        plan_search(str(tmp_path / "part"), {"folds": 7}, 0, "", "")


def test_equal_searches_share_a_study_whatever_their_number_of_trials(parts: dict[str, str]) -> None:
    def study(part: str = "classification", seed: int = 0, **tune: Any) -> str:
        return plan_search(parts[part], {"estimators": ["linear"], **tune}, seed, "", "").study

    assert study() == study(trials=50, parallel=4, minutes=1) == study(metric="accuracy")
    others = [study(metric="f1"), study(folds=3), study(seed=1), study("regression"), study(sampler="random")]
    assert len({study(), *others}) == 6


def test_plan_search_for_anomalies_is_refused(tmp_path: Path) -> None:
    parsed = table_scan.parse(pumps(), "broken", columns={"heat": {"missing": True}}, task="anomaly")
    table.save_table(str(tmp_path / "train"), parsed, np.ones(len(parsed.labels), dtype=bool))
    with pytest.raises(StepError, match="tune: a detector of anomalies cannot be tuned"):
        plan_search(str(tmp_path / "train"), {"sampler": "grid", "trials": 5}, 0, "", "")


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.REGRESSION])
def test_default_spaces_of_each_task_are_built(parts: dict[str, str], task: Task) -> None:
    search = plan_search(parts[task], {"sampler": "grid", "trials": 5}, 0, "", "")
    assert list(search.spaces) == ["forest", "boosting", "linear"]
    assert list(search_spaces(search.settings, task, targets=2)) == ["forest", "linear"]
    counts = {arguments(point).get("min_samples_leaf") for point in grid(search.spaces)}
    assert {"1", 20} < counts
