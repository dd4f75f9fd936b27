"""Predictions of an exported model: one session of ONNX Runtime for all measurements of a test step."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from settings.metrics import ANOMALY, CLASSIFICATION, MAIN_METRICS, METRICS, REGRESSION
from workloads.ml.data.encoding import Rows
from workloads.ml.data.target import Labels, Values
from workloads.ml.evaluation.scores import anomaly_scores, confusion, probability_scores, regression_scores, scores

if TYPE_CHECKING:
    from workloads.ml.model.model_directory import ModelDirectory

WARM_UP_RUNS, TIMED_RUNS = 5, 50
IMPORTANCE_REPEATS = 3
IMPORTANCE_PREDICTIONS = 200_000
"""Most predictions for the importance of all features; fewer rows count if there are many features."""
LEAST_IMPORTANCE_ROWS = 20


@dataclass(frozen=True)
class Answers:
    """Predictions for rows.

    Args:
        values: Class indices [rows], or the numbers of a regression [rows, targets].
        probabilities: [rows, classes]; empty for a regression. Of an anomaly detection, the scores [rows, 1].
    """

    values: NDArray[np.generic]
    probabilities: NDArray[np.float32]


class Predictor:
    """Session of an exported model, with the names that its signature has.

    Args:
        model: The model directory.
    """

    def __init__(self, model: ModelDirectory) -> None:
        from onnxruntime import InferenceSession

        self.signature = model.signature
        self.task = str(model.signature.get("task", CLASSIFICATION))
        self.size = len(model.onnx)
        self._session = InferenceSession(model.onnx)

    @property
    def main_metric(self) -> str:
        """Return the name of the metric by which models of this task are known."""
        return MAIN_METRICS[self.task]

    def answer(self, rows: Rows) -> Answers:
        """Return the predictions for rows [rows, features]."""
        if self.task == REGRESSION:
            (values,) = self._session.run(["value"], {"features": rows})
            return Answers(values.reshape(len(rows), -1), np.empty((len(rows), 0), np.float32))
        if self.task == ANOMALY:
            anomalies, found = self._session.run(["anomaly", "score"], {"features": rows})
            return Answers(anomalies.astype(np.int64), found.reshape(-1, 1))
        return Answers(*self._session.run(["label", "probabilities"], {"features": rows}))

    def measure(self, rows: Rows, truth: Labels | Values, answers: Answers) -> dict[str, float]:
        """Return all metrics of the model: those of its answers, its size in bytes, and its latency in milliseconds."""
        found = {**measure_answers(truth, answers), "size": float(self.size), "latency": self._latency(rows[:1])}
        return {name: value for name, value in found.items() if np.isfinite(value)}

    def importance(self, rows: Rows, truth: Labels | Values) -> dict[str, float]:
        """Return by how much the main metric worsens if the values of a feature change rows, by feature.

        Args:
            rows: Test rows [rows, features]; of many rows, the first count.
            truth: Their classes or numbers.
        """
        features = [feature["name"] for feature in self.signature["features"]]
        count = max(LEAST_IMPORTANCE_ROWS, IMPORTANCE_PREDICTIONS // (len(features) * IMPORTANCE_REPEATS))
        rows, truth = rows[:count], truth[:count]
        random = np.random.default_rng(0)
        sign = 1 if METRICS[self.main_metric].better == "below" else -1
        before = measure_answers(truth, self.answer(rows))[self.main_metric]
        importance = {}
        for index, name in enumerate(features):
            changes = []
            for _ in range(IMPORTANCE_REPEATS):
                permuted = rows.copy()
                permuted[:, index] = random.permutation(permuted[:, index])
                changes.append(measure_answers(truth, self.answer(permuted))[self.main_metric] - before)
            importance[name] = sign * float(np.mean(changes))
        return importance

    def _latency(self, row: Rows) -> float:
        """Return the median time of a prediction for one row in milliseconds."""
        seconds = []
        for _ in range(WARM_UP_RUNS + TIMED_RUNS):
            start = time.perf_counter()
            self.answer(row)
            seconds.append(time.perf_counter() - start)
        return 1000 * median(seconds[WARM_UP_RUNS:])


def measure_answers(truth: Labels | Values, answers: Answers) -> dict[str, float]:
    """Return the metrics of answers. An answer of -1 is a class that the test rows do not have."""
    classes = answers.probabilities.shape[1]
    if not classes:
        values = np.asarray(truth, dtype=np.float64).reshape(len(truth), -1)
        return regression_scores(values, np.asarray(answers.values, dtype=np.float64))
    labels = np.asarray(truth, dtype=np.int64)
    if classes == 1:
        return anomaly_scores(labels == 1, answers.values == 1, answers.probabilities[:, 0])
    # The last row and column of the matrix are the unknown class; it has no true rows and does not count as a class.
    matrix = confusion(labels, np.asarray(answers.values, dtype=np.int64), classes + 1)
    return {**scores(matrix[:classes]), **probability_scores(labels, answers.probabilities)}
