"""Trials of a study as child runs in MLflow: the study needs no database, and any step continues it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from workloads.ml import tracking
from workloads.ml.tuning.search_space import ESTIMATOR, arguments

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from workloads.ml.tuning.search import Search

PARENT = "mlflow.parentRunId"
STUDY, NUMBER, STATE, WORKER, RECORD = "tune.study", "tune.trial", "tune.state", "tune.worker", "tune.record"
"""Tags of a trial's run."""
MOST_RUNS = 5000


class TrialStatus(StrEnum):
    """The state of a trial."""

    RUNNING = "running"
    COMPLETE = "complete"
    PRUNED = "pruned"
    FAILED = "failed"
    ABANDONED = "abandoned"
    """The step ended before the trial: another trial takes its number."""


RUN_STATUS = {
    TrialStatus.COMPLETE: "FINISHED",
    TrialStatus.PRUNED: "KILLED",
    TrialStatus.FAILED: "FAILED",
    TrialStatus.ABANDONED: "KILLED",
}


@dataclass(frozen=True)
class TrialRun:
    """A trial as its run in MLflow has it.

    Args:
        run_id: The run of the trial.
        parent: The run of the pipeline.
        number: Number of the trial, from 0.
        state: State of the trial.
        worker: Number of the worker.
        started: Start in milliseconds since 1970.
        parameters: The estimator and its parameters.
        means: Mean of the metric after each fold; the last one is the value of a complete trial.
    """

    run_id: str
    parent: str
    number: int
    state: TrialStatus
    worker: int
    started: int
    parameters: dict[str, Any]
    means: Sequence[float] = ()


class TrialRuns:
    """The trials of a search in MLflow."""

    def __init__(self, tracking_url: str, search: Search) -> None:
        self._mlflow: MlflowClient = tracking.client(tracking_url)
        self._search = search

    def load(self) -> list[TrialRun]:
        """Return the trials by number, without abandoned ones; of a number that was tried twice, the earliest."""
        live = [trial for trial in self._all() if trial.state is not TrialStatus.ABANDONED]
        return list({trial.number: trial for trial in reversed(live)}.values())[::-1]

    def free_number(self, trials: Sequence[TrialRun]) -> int | None:
        """Return the smallest number that no trial has, None if all are taken."""
        taken = {trial.number for trial in trials}
        return next((number for number in range(self._search.trials) if number not in taken), None)

    def claim(self, number: int, worker: int, parameters: Mapping[str, Any]) -> TrialRun | None:
        """Create the run of a trial; return None if another worker has the number."""
        tags = {
            PARENT: self._search.run_id,
            STUDY: self._search.study,
            NUMBER: str(number),
            STATE: TrialStatus.RUNNING,
            WORKER: str(worker),
            RECORD: json.dumps({"parameters": dict(parameters), "means": []}),
        }
        run = self._mlflow.create_run(self._search.experiment_id, tags=tags, run_name=f"trial {number}")
        # Two workers may create the same trial at the same time: the first of the list keeps it.
        first = next(trial for trial in self.load() if trial.number == number)
        if first.run_id != run.info.run_id:
            self._end(run.info.run_id, TrialStatus.ABANDONED)
            return None
        self._log_parameters(run.info.run_id, parameters)
        return first

    def log_fold(self, trial: TrialRun, fold: int, mean: float) -> None:
        """Log the mean of the metric after a fold."""
        self._mlflow.log_metric(trial.run_id, self._search.metric, mean, step=fold)

    def finish(self, trial: TrialRun, state: TrialStatus, means: Sequence[float], error: str = "") -> None:
        """Record the result of a trial; the state is the last to change."""
        record = json.dumps({"parameters": trial.parameters, "means": list(means)})
        self._mlflow.set_tag(trial.run_id, RECORD, record)
        if error:
            self._mlflow.set_tag(trial.run_id, "error", error)
        self._end(trial.run_id, state)

    def release(self, worker: int) -> None:
        """Abandon the running trials of a former attempt of this step."""
        for trial in self._all():
            if (trial.state, trial.parent, trial.worker) == (TrialStatus.RUNNING, self._search.run_id, worker):
                self._end(trial.run_id, TrialStatus.ABANDONED)

    def take_over(self) -> int:
        """Take over the study of a pipeline run that was killed; return the number of trials that ended.

        Running trials are abandoned. Trials move to this pipeline run if theirs did not end, or was deleted.
        """
        trials = self._all()
        for trial in trials:
            if trial.state is TrialStatus.RUNNING:
                self._end(trial.run_id, TrialStatus.ABANDONED)
        for parent in {trial.parent for trial in trials} - {self._search.run_id}:
            # A search, other than `get_run`, finds no deleted run; such a run accepts no tags.
            found = self._mlflow.search_runs([self._search.experiment_id], f"attributes.run_id = '{parent}'")
            if found and found[0].info.status != "RUNNING":
                continue
            for trial in trials:
                if trial.parent == parent:
                    self._mlflow.set_tag(trial.run_id, PARENT, self._search.run_id)
            if found:
                self._mlflow.set_tag(parent, "continued_by", self._search.run_id)
                self._mlflow.set_terminated(parent, "KILLED")
        self._mlflow.set_tag(self._search.run_id, STUDY, self._search.study)
        return len(self.load())

    def _all(self) -> list[TrialRun]:
        """Return all trials by number and start."""
        runs = self._mlflow.search_runs(
            [self._search.experiment_id],
            f"tags.`{STUDY}` = '{self._search.study}' and tags.`{NUMBER}` != ''",
            max_results=MOST_RUNS,
        )
        trials = [
            TrialRun(
                run_id=run.info.run_id,
                parent=run.data.tags[PARENT],
                number=int(run.data.tags[NUMBER]),
                state=TrialStatus(run.data.tags[STATE]),
                worker=int(run.data.tags[WORKER]),
                started=run.info.start_time,
                **json.loads(run.data.tags[RECORD]),
            )
            for run in runs
        ]
        return sorted(trials, key=lambda trial: (trial.number, trial.started, trial.run_id))

    def _end(self, run_id: str, state: TrialStatus) -> None:
        self._mlflow.set_tag(run_id, STATE, state)
        self._mlflow.set_terminated(run_id, RUN_STATUS[state])

    def _log_parameters(self, run_id: str, parameters: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        values = {ESTIMATOR: parameters[ESTIMATOR], **arguments(parameters)}
        self._mlflow.log_batch(run_id, params=[Param(name, str(value)) for name, value in values.items()])
