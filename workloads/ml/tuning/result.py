"""Result of a search: the best trial, its model, and the pictures in the run of the pipeline."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.ml import tracking
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.training.named_estimator import train_estimator
from workloads.ml.tuning.pictures import plot_search
from workloads.ml.tuning.search import Search
from workloads.ml.tuning.search_space import ESTIMATOR, arguments, class_of
from workloads.ml.tuning.trial_runs import TrialRun, TrialRuns, TrialStatus

RESULT_STATES = (TrialStatus.COMPLETE, TrialStatus.PRUNED, TrialStatus.FAILED)
PICTURES = "tuning"
"""Folder of the pictures among the artifacts of the pipeline's run."""


@dataclass(frozen=True)
class TuningResult:
    """The result of a search.

    Args:
        title: Heading of the report.
        metrics: Number of trials by state, and the cross-validated metric of the best one.
        notes: The best estimator and parameters, and the preparation of its rows.
        plots: Pictures as PNG by name.
    """

    title: str
    metrics: dict[str, float]
    notes: list[str]
    plots: dict[str, bytes]


def fit_best(search: Search, train: str, folder: Path, model_name: str, tracking_url: str) -> TuningResult:
    """Train the best estimator on the whole training part and write its model directory to `folder`.

    Raises:
        StepError: No trial is complete, or the best estimator cannot be exported exactly.
    """
    trials = TrialRuns(tracking_url, search).load()
    best = _best(search, trials)
    name, parameters = class_of(best.parameters[ESTIMATOR], Task(search.task)), arguments(best.parameters)
    preparation = train_estimator(train, folder, model_name, name, parameters, search.seed)
    metrics = {f"trials_{state}": float(sum(trial.state is state for trial in trials)) for state in RESULT_STATES}
    metrics[f"cv_{search.metric}"] = best.means[-1]
    plots = plot_search(search, trials)
    _record(search, tracking_url, best, name, parameters, plots)
    notes = [f"best: trial {best.number}, {name} with {parameters or 'its defaults'}", preparation]
    return TuningResult(f"{model_name}: {len(trials)} trials", metrics, notes, plots)


def _best(search: Search, trials: list[TrialRun]) -> TrialRun:
    complete = [trial for trial in trials if trial.state is TrialStatus.COMPLETE]
    if not complete:
        failed = [trial for trial in trials if trial.state is TrialStatus.FAILED]
        if failed:
            raise StepError(f"tune: all {len(failed)} trials that ended failed; MLflow has the error of each trial")
        raise StepError(f"tune.minutes: {search.settings.minutes:g}; no trial ended in this time; allow more")
    return (max if search.maximize else min)(complete, key=lambda trial: trial.means[-1])


def _record(
    search: Search, tracking_url: str, best: TrialRun, name: str, parameters: dict[str, Any], plots: dict[str, bytes]
) -> None:
    """Record the best trial and the pictures in the run of the pipeline."""
    mlflow = tracking.client(tracking_url)
    mlflow.set_tag(
        search.run_id, "tune.best", json.dumps({"trial": best.number, "estimator": name, "parameters": parameters})
    )
    with tempfile.TemporaryDirectory() as folder:
        for plot, image in plots.items():
            (Path(folder) / f"{plot}.png").write_bytes(image)
        mlflow.log_artifacts(search.run_id, folder, PICTURES)
