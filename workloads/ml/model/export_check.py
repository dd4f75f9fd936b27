"""Comparison of an exported model with the trained one, on training rows and on rows near the decision boundaries."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.table import Labels, Rows
from workloads.ml.errors import StepError

TOLERANCE = 1e-4
"""Largest difference of a probability, and smallest difference at which two classes are not a tie."""
TRAINING_ROWS = 2000
BOUNDARY_PAIRS = 200
BISECTIONS = 10
NEIGHBOURS = 32
NEIGHBOUR_DISTANCE = 1e-6
"""Relative distance of neighbours: some units in the last place of float32."""
Probabilities = NDArray[np.float64]
"""[rows, classes]"""


def check_export(name: str, classifier: Any, onnx: bytes, rows: Rows) -> None:
    """Compare labels and probabilities of the exported model with those of the trained classifier.

    Args:
        name: Name of the classifier in messages.
        classifier: The trained classifier or scikit-learn pipeline; its classes are 0, 1, 2, ...
        onnx: The exported model.
        rows: Training rows [rows, features].

    Raises:
        StepError: The exported model predicts another class, or a probability that differs by more than 1e-4.
    """
    from onnxruntime import InferenceSession

    random = np.random.default_rng(0)
    sample = rows if len(rows) <= TRAINING_ROWS else rows[random.choice(len(rows), TRAINING_ROWS, replace=False)]
    probes = np.concatenate([sample, _boundary_rows(classifier, sample, random)])
    labels, probabilities = InferenceSession(onnx).run(["label", "probabilities"], {"features": probes})
    expected = classifier.predict_proba(probes)
    if (labels.shape, probabilities.shape) != (expected.shape[:1], expected.shape):
        raise StepError(
            f"{name} cannot be exported: for {len(probes)} rows the exported model returns labels of shape "
            f"{labels.shape} and probabilities of shape {probabilities.shape}, not {expected.shape[:1]} and "
            f"{expected.shape}; use another classifier"
        )
    differences = _differences(classifier.predict(probes), expected, labels, probabilities)
    largest_first = np.argsort(-differences, kind="stable")
    for index in largest_first[differences[largest_first] > TOLERANCE]:
        if not _is_step(classifier, probes[index], labels[index], probabilities[index], random):
            raise _refusal(name, expected[index], probabilities[index])


def _boundary_rows(classifier: Any, rows: Rows, random: np.random.Generator) -> Rows:
    """Return rows on both sides of decision boundaries, between training rows of different predicted classes."""
    labels = classifier.predict(rows)
    first, second = random.integers(len(rows), size=(2, 4 * BOUNDARY_PAIRS))
    pairs = np.flatnonzero(labels[first] != labels[second])[:BOUNDARY_PAIRS]
    low, high, low_labels = rows[first[pairs]], rows[second[pairs]], labels[first[pairs]]
    for _ in range(BISECTIONS if len(pairs) else 0):
        middle = ((low + high) / 2).astype(np.float32)
        same = classifier.predict(middle) == low_labels
        low, high = np.where(same[:, None], middle, low), np.where(same[:, None], high, middle)
    return np.concatenate([low, high])


def _differences(
    expected_labels: Labels, expected: Probabilities, labels: Labels, probabilities: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the largest difference of each row; a row with another label than the trained model's counts as 1.

    A tie is no difference: both labels have the same probability within the tolerance.
    """
    differences = np.abs(expected - probabilities).max(axis=1)
    rows = np.arange(len(labels))
    gap = np.abs(expected[rows, expected_labels] - expected[rows, labels])
    return np.where((labels != expected_labels) & (gap > TOLERANCE), 1.0, np.nan_to_num(differences, nan=1.0))


def _is_step(
    classifier: Any,
    row: NDArray[np.float32],
    label: int,
    probabilities: NDArray[np.float32],
    random: np.random.Generator,
) -> bool:
    """Return True if the difference is only the place of a step.

    The probabilities of trees jump at a threshold, which rounding to float32 moves. The trained model then predicts
    the exported probabilities for some neighbours of the row.
    """
    scale = np.maximum(np.abs(row), np.finfo(np.float32).tiny) * NEIGHBOUR_DISTANCE
    neighbours = np.concatenate([row + scale * random.uniform(-1, 1, (NEIGHBOURS, len(row))), [row]])
    neighbours = neighbours.astype(np.float32)
    expected = classifier.predict_proba(neighbours)
    inside = (probabilities >= expected.min(axis=0) - TOLERANCE) & (probabilities <= expected.max(axis=0) + TOLERANCE)
    return bool(inside.all()) and label in classifier.predict(neighbours)


def _refusal(name: str, expected: NDArray[np.float64], probabilities: NDArray[np.float32]) -> StepError:
    index = int(np.argmax(np.abs(expected - probabilities)))
    return StepError(
        f"{name} cannot be exported: for a row near its training data the exported model predicts class {index} with "
        f"probability {probabilities[index]:.4f}, the trained one with {expected[index]:.4f}; at most {TOLERANCE} of "
        "difference is allowed. Scale the features, or use another classifier"
    )
