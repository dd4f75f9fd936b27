"""Comparison of an exported model with the trained one, on training rows and on rows near the decision boundaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.encoding import ColumnSchema, Rows
from workloads.ml.data.target import Labels
from workloads.ml.errors import StepError
from workloads.ml.model.probe_rows import ProbeRows

TOLERANCE = 1e-4
"""Largest difference of a probability, and smallest difference at which two classes are not a tie.

For a number, it is the share of the standard deviation of its target.
"""
Outputs = NDArray[np.float64]
"""[rows, classes] or [rows, targets]"""


def check_export(name: str, classifier: Any, onnx: bytes, rows: Rows, columns: Sequence[ColumnSchema] = ()) -> None:
    """Compare labels and probabilities of the exported model with those of the trained classifier.

    Args:
        name: Name of the classifier in messages.
        classifier: The trained classifier or scikit-learn pipeline; its classes are 0, 1, 2, ...
        onnx: The exported model.
        rows: Training rows [rows, features].
        columns: Schema of the features; empty if all are numbers that are never missing.

    Raises:
        StepError: The exported model predicts another class, or a probability that differs by more than 1e-4.
    """
    from onnxruntime import InferenceSession

    probing = ProbeRows(rows, columns)
    probes = probing.rows(classifier.predict)
    labels, probabilities = InferenceSession(onnx).run(["label", "probabilities"], {"features": probes})
    expected = classifier.predict_proba(probes)
    if (labels.shape, probabilities.shape) != (expected.shape[:1], expected.shape):
        raise StepError(
            f"{name} cannot be exported: for {len(probes)} rows the exported model returns labels of shape "
            f"{labels.shape} and probabilities of shape {probabilities.shape}, not {expected.shape[:1]} and "
            f"{expected.shape}; use another classifier"
        )
    expected_labels = classifier.predict(probes)
    differences = _differences(expected_labels, expected, labels, probabilities)
    for index in _largest_first(differences, TOLERANCE):
        near = probing.neighbours(probes[index])
        inside = _is_inside(classifier.predict_proba(near), probabilities[index], TOLERANCE)
        if not (inside and labels[index] in classifier.predict(near)):
            raise _refusal(name, expected_labels[index], expected[index], labels[index], probabilities[index])


def check_values(
    name: str, regressor: Any, onnx: bytes, rows: Rows, scales: Sequence[float], columns: Sequence[ColumnSchema] = ()
) -> None:
    """Compare the numbers of the exported model with those of the trained regressor.

    Args:
        name: Name of the regressor in messages.
        regressor: The trained regressor or scikit-learn pipeline.
        onnx: The exported model.
        rows: Training rows [rows, features].
        scales: Standard deviation of each target.
        columns: Schema of the features; empty if all are numbers that are never missing.

    Raises:
        StepError: A number differs by more than 1e-4 standard deviations of its target.
    """
    from onnxruntime import InferenceSession

    probing = ProbeRows(rows, columns)
    probes = probing.rows(regressor.predict)
    (values,) = InferenceSession(onnx).run(["value"], {"features": probes})
    expected = _matrix(regressor.predict(probes))
    if values.shape != expected.shape:
        raise StepError(
            f"{name} cannot be exported: for {len(probes)} rows the exported model returns values of shape "
            f"{values.shape}, not {expected.shape}; use another regressor"
        )
    _require_near(name, "regressor", regressor.predict, probing, probes, values, TOLERANCE * np.asarray(scales))


def check_scores(name: str, detector: Any, onnx: bytes, rows: Rows, columns: Sequence[ColumnSchema] = ()) -> None:
    """Compare the scores and the decisions of the exported model with those of the trained outlier detector.

    Args:
        name: Name of the detector in messages.
        detector: The trained detector or scikit-learn pipeline.
        onnx: The exported model.
        rows: Training rows [rows, features].
        columns: Schema of the features; empty if all are numbers that are never missing.

    Raises:
        StepError: A score differs by more than 1e-4 of the standard deviation of all scores, or a decision differs.
    """
    from onnxruntime import InferenceSession

    def score(each: Rows) -> NDArray[np.float64]:
        return -np.asarray(detector.decision_function(each))

    probing = ProbeRows(rows, columns)
    probes = probing.rows(detector.predict)
    anomalies, scores = InferenceSession(onnx).run(["anomaly", "score"], {"features": probes})
    expected = score(probes)
    if (anomalies.shape, scores.shape) != (expected.shape, expected.shape):
        raise StepError(
            f"{name} cannot be exported: for {len(probes)} rows the exported model returns decisions of shape "
            f"{anomalies.shape} and scores of shape {scores.shape}, not {expected.shape}; use another detector"
        )
    tolerance = TOLERANCE * np.array([expected.std()])
    _require_near(name, "detector", score, probing, probes, scores.reshape(-1, 1), tolerance)
    # A score at the threshold may be rounded to either side.
    if ((detector.predict(probes) < 0) != anomalies)[np.abs(scores) > tolerance].any():
        raise StepError(f"{name} cannot be exported: for a row near its training data the decisions differ")


def _require_near(
    name: str,
    kind: str,
    predict: Any,
    probing: ProbeRows,
    probes: Rows,
    values: NDArray[np.float32],
    tolerance: Outputs,
) -> None:
    """Raise StepError unless numbers [rows, targets] differ from those of `predict` by at most the tolerance."""
    expected = _matrix(predict(probes))
    differences = np.nan_to_num(np.abs(expected - values), nan=np.inf)
    for index in _largest_first((differences / tolerance).max(axis=1), 1):
        if not _is_inside(_matrix(predict(probing.neighbours(probes[index]))), values[index], tolerance):
            target = int(np.argmax(differences[index] / tolerance))
            raise StepError(
                f"{name} cannot be exported: for a row near its training data the exported model predicts "
                f"{values[index, target]:.7g}, the trained one {expected[index, target]:.7g}; at most "
                f"{tolerance[target]:.2g} of difference is allowed. Scale the features, or use another {kind}"
            )


def _matrix(values: NDArray[np.float64]) -> Outputs:
    return values.reshape(len(values), -1)


def _largest_first(differences: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
    """Return the indices of the differences above the tolerance, the largest first."""
    order = np.argsort(-differences, kind="stable")
    return order[differences[order] > tolerance]


def _differences(
    expected_labels: Labels, expected: Outputs, labels: Labels, probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the largest difference of each row; a row with another label than the trained model's counts as 1.

    A tie is no difference: both labels have the same probability within the tolerance.
    """
    differences = np.abs(expected - probabilities).max(axis=1)
    rows = np.arange(len(labels))
    gap = np.abs(expected[rows, expected_labels] - expected[rows, labels])
    return np.where((labels != expected_labels) & (gap > TOLERANCE), 1.0, np.nan_to_num(differences, nan=1.0))


def _is_inside(near: Outputs, predicted: NDArray[np.float32], tolerance: Any) -> bool:
    """Return True if the difference is only the place of a step.

    The outputs of trees jump at a threshold, which rounding to float32 moves. The trained model then predicts the
    exported outputs for some neighbours of the row.
    """
    inside = (predicted >= near.min(axis=0) - tolerance) & (predicted <= near.max(axis=0) + tolerance)
    return bool(inside.all())


def _refusal(
    name: str,
    expected_label: np.int64,
    expected: NDArray[np.float64],
    label: np.int64,
    probabilities: NDArray[np.float32],
) -> StepError:
    """Return the error of a row; it compares the predicted classes if they differ, else the probabilities of one."""
    if label == expected_label:
        label = expected_label = np.argmax(np.abs(expected - probabilities))
        trained = "the trained one"
    else:
        trained = f"the trained one class {expected_label}"
    return StepError(
        f"{name} cannot be exported: for a row near its training data the exported model predicts class {label} with "
        f"probability {probabilities[label]:.4f}, {trained} with {expected[expected_label]:.4f}; at most {TOLERANCE} "
        "of difference is allowed. Scale the features, or use another classifier"
    )
