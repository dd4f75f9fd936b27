"""The search of one pipeline run: the settings, checked against the data, and the identity of the study."""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from pydantic import ValidationError

from settings.metrics import COSTS, MAIN_METRICS, METRICS, metrics_of
from settings.pipelines.tuning import DEFAULT_TRIALS, MOST_TRIALS, TuneSection
from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.training.estimators import build_estimator
from workloads.ml.tuning.search_space import Space, arguments, class_of, grid, search_spaces

STUDY_CHARACTERS = 12


@dataclass(frozen=True)
class Search:
    """A search; its steps pass it on as JSON.

    Args:
        tune: The setting `tune`, with the metric and the number of trials.
        task: The task of the data.
        targets: Number of targets.
        seed: Seed of the folds, the estimators and the sampler.
        study: Digest of the data and of all settings that change a trial: equal searches share their trials.
        experiment_id: Experiment of the pipeline in MLflow.
        run_id: Run of the pipeline in MLflow, the parent of the trials.
        deadline: Time in seconds since 1970 after which no trial starts.
    """

    tune: dict[str, Any]
    task: str
    targets: int
    seed: int
    study: str
    experiment_id: str
    run_id: str
    deadline: float

    @cached_property
    def settings(self) -> TuneSection:
        """Return the setting `tune`."""
        return TuneSection.model_validate(self.tune)

    @cached_property
    def spaces(self) -> dict[str, Space]:
        """Return the search space of each estimator."""
        return search_spaces(self.settings, Task(self.task), self.targets)

    @property
    def metric(self) -> str:
        """Return the metric that the search improves."""
        return str(self.settings.metric)

    @property
    def trials(self) -> int:
        """Return the number of trials."""
        assert self.settings.trials
        return self.settings.trials

    @property
    def maximize(self) -> bool:
        """Return True if larger values of the metric are better."""
        return METRICS[self.metric].better == "above"

    def grid_point(self, number: int) -> dict[str, Any]:
        """Return the parameters of a trial of a grid; the combinations come in a shuffled order."""
        points = grid(self.spaces)
        random.Random(self.seed).shuffle(points)
        return points[number]

    def to_json(self) -> str:
        """Return the search as text for the next step."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Search:
        """Return the search that `to_json` wrote."""
        return Search(**json.loads(text))


def plan_search(train: str, tune: Mapping[str, Any], seed: int, experiment_id: str, run_id: str) -> Search:
    """Check the setting `tune` against the training part, and return the search.

    Raises:
        StepError: A setting is wrong, or does not fit the data.
    """
    section = _parse(tune)
    rows, labels = load_table(train)
    description = load_description(train)
    task = Task(description["task"])
    if task is Task.ANOMALY:
        raise StepError("tune: a detector of anomalies cannot be tuned; set its estimator and parameters instead")
    targets = 1 if labels.ndim == 1 else labels.shape[1]
    spaces = search_spaces(section, task, targets)
    _require_metric(section, task)
    _require_folds(section, task, labels)
    _require_estimators(spaces, task, seed)
    chosen = {"metric": section.metric or MAIN_METRICS[task], "trials": _count_trials(section, spaces)}
    complete = section.model_copy(update=chosen)
    identity = complete.model_dump(mode="json", exclude={"trials", "parallel", "minutes"})
    digest = hashlib.sha256(rows.tobytes() + labels.tobytes())
    libraries = {name: version(name) for name in ("scikit-learn", "optuna")}
    digest.update(json.dumps([identity, description["columns"], seed, libraries, repr(spaces)]).encode())
    return Search(
        tune=complete.model_dump(mode="json", exclude_none=True),
        task=task,
        targets=targets,
        seed=seed,
        study=digest.hexdigest()[:STUDY_CHARACTERS],
        experiment_id=experiment_id,
        run_id=run_id,
        deadline=time.time() + 60 * section.minutes,
    )


def _parse(tune: Mapping[str, Any]) -> TuneSection:
    try:
        return TuneSection.model_validate(dict(tune))
    except ValidationError as error:
        fault = error.errors()[0]
        path = ".".join(["tune", *(str(each) for each in fault["loc"] if not str(each).startswith("<"))])
        raise StepError(f"{path}: {fault['msg'].removeprefix('Value error, ')}") from None


def _require_metric(tune: TuneSection, task: Task) -> None:
    allowed = [name for name in metrics_of(task) if name not in COSTS]
    if tune.metric and tune.metric not in allowed:
        raise StepError(f"tune.metric: a {task} has no {tune.metric}; its metrics are: {', '.join(allowed)}")


def _require_folds(tune: TuneSection, task: Task, labels: Any) -> None:
    """Require a row of each class in each fold; a metric of a fold without a class differs from that of the test."""
    if task is Task.CLASSIFICATION:
        fewest, of = int(np.bincount(labels).min()), "the rarest class has"
    else:
        fewest, of = len(labels) // 2, "half of the training part is"
    if tune.folds > fewest:
        raise StepError(f"tune.folds: {tune.folds}; {of} {fewest} rows; set fewer folds")


def _require_estimators(spaces: Mapping[str, Space], task: Task, seed: int) -> None:
    """Create each estimator with the first value of each parameter: names are checked before the first trial."""
    for point in {each["estimator"]: each for each in reversed(_first_points(spaces))}.values():
        try:
            build_estimator(class_of(point["estimator"], task), arguments(point), task, seed)
        except StepError as error:
            raise StepError(f"tune.parameters.{point['estimator']}: {error}") from None


def _first_points(spaces: Mapping[str, Space]) -> list[dict[str, Any]]:
    return [each for name, space in spaces.items() for each in grid({name: space})[:1]]


def _count_trials(tune: TuneSection, spaces: Mapping[str, Space]) -> int:
    if tune.sampler != "grid":
        return tune.trials or DEFAULT_TRIALS
    size = len(grid(spaces))
    trials = min(tune.trials or size, size)
    if trials > MOST_TRIALS:
        raise StepError(f"tune: the grid has {size} combinations; set trials to at most {MOST_TRIALS}, or fewer values")
    return trials
