"""Worker of a search: runs trials by cross-validation until all numbers are taken or the time is over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.evaluation.predictor import Answers, measure_answers
from workloads.ml.training.estimators import build_estimator, first_line, fit_estimator
from workloads.ml.training.preparation import prepare
from workloads.ml.tuning.search import Search
from workloads.ml.tuning.search_space import ESTIMATOR, arguments, class_of
from workloads.ml.tuning.study import propose
from workloads.ml.tuning.trial_runs import TrialRun, TrialRuns, TrialStatus

if TYPE_CHECKING:
    from optuna import Trial


class TrialWorker:
    """A worker of a search; several work on one study, each in its own process or pod.

    Args:
        search: The search.
        train: Path of the training part.
        tracking_url: Address of MLflow.
        worker: Number of the worker.
    """

    def __init__(self, search: Search, train: str, tracking_url: str, worker: int) -> None:
        self._search = search
        self._worker = worker
        self._rows, self._labels = load_table(train)
        self._columns = load_description(train)["columns"]
        self._task = Task(search.task)
        self._runs = TrialRuns(tracking_url, search)

    def run(self) -> int:
        """Run trials until none is left or the deadline has passed; return the number of trials that ended."""
        import sklearn.ensemble  # noqa: F401  the limit applies to libraries that are loaded
        from threadpoolctl import threadpool_limits

        self._runs.release(self._worker)
        ended = 0
        # Workers share the CPUs: each trial takes one thread if there are several workers.
        with threadpool_limits(1 if self._search.settings.parallel > 1 else None):
            while time.time() < self._search.deadline:
                trials = self._runs.load()
                number = self._runs.free_number(trials)
                if number is None:
                    break
                proposed, parameters = propose(self._search, trials, number)
                trial = self._runs.claim(number, self._worker, parameters)
                if trial:
                    ended += self._evaluate(trial, proposed)
        return ended

    def _evaluate(self, trial: TrialRun, proposed: Trial) -> bool:
        """Measure a trial fold by fold and record it; return False if the time was over before its end."""
        means: list[float] = []
        state, error = TrialStatus.COMPLETE, ""
        try:
            for score in self._scores(trial.parameters):
                means.append((sum(means[-1:]) * len(means) + score) / (len(means) + 1))
                self._runs.log_fold(trial, len(means), means[-1])
                if len(means) == self._search.settings.folds:
                    break
                proposed.report(means[-1], len(means) - 1)
                if proposed.should_prune():
                    state = TrialStatus.PRUNED
                    break
                if time.time() >= self._search.deadline:
                    state = TrialStatus.ABANDONED
                    break
        except StepError as failure:
            state, error = TrialStatus.FAILED, str(failure)
        self._runs.finish(trial, state, means, error)
        value = f"{self._search.metric} {means[-1]:.4f}" if means else error
        print(f"trial {trial.number} {state}: {trial.parameters[ESTIMATOR]}, {value}, {arguments(trial.parameters)}")
        return state is not TrialStatus.ABANDONED

    def _scores(self, parameters: dict[str, Any]) -> Iterator[float]:
        """Yield the metric on each fold.

        Raises:
            StepError: The estimator cannot be trained with these parameters, or the metric is not a number.
        """
        from sklearn.model_selection import KFold, StratifiedKFold

        kind = StratifiedKFold if self._task is Task.CLASSIFICATION else KFold
        folds = kind(self._search.settings.folds, shuffle=True, random_state=self._search.seed)
        name = class_of(parameters[ESTIMATOR], self._task)
        for training, held_out in folds.split(self._rows, self._labels):
            estimator = build_estimator(name, arguments(parameters), self._task, self._search.seed)
            prepared, _ = prepare(estimator, self._columns)
            fit_estimator(name, prepared, self._rows[training], self._labels[training])
            answers = self._answer(name, prepared, self._rows[held_out])
            score = measure_answers(self._labels[held_out], answers)[self._search.metric]
            if not np.isfinite(score):
                raise StepError(f"estimator: {name}: {self._search.metric} is {score}")
            yield score

    def _answer(self, name: str, estimator: Any, rows: Any) -> Answers:
        if self._task is Task.CLASSIFICATION and not hasattr(estimator, "predict_proba"):
            raise StepError(f"estimator: {name} predicts no probabilities, which a served model needs")
        try:
            predicted = np.asarray(estimator.predict(rows))
            if self._task is Task.REGRESSION:
                return Answers(predicted.reshape(len(rows), -1), np.empty((len(rows), 0), np.float32))
            return Answers(predicted, np.asarray(estimator.predict_proba(rows), np.float32))
        except Exception as error:  # estimators have no common base class of errors
            raise StepError(f"estimator: {name} cannot predict: {first_line(error)}") from error
