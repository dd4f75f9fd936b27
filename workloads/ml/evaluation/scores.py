"""Scores of a classifier, in numpy alone: importing scikit-learn takes three seconds of each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.target import Labels

Confusion = NDArray[np.int64]
"""[classes, classes]: rows are the true class, columns the predicted one."""


def confusion(labels: Labels, predicted: Labels, classes: int) -> Confusion:
    """Return the confusion matrix of `labels` [rows] and `predicted` [rows]."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def scores(matrix: Confusion) -> dict[str, float]:
    """Return accuracy, precision, recall and F1, each in [0, 1].

    The last three are means over the classes; a class without a correct prediction counts as 0.
    """
    correct = np.diag(matrix)
    precision = correct / np.maximum(matrix.sum(axis=0), 1)
    recall = correct / np.maximum(matrix.sum(axis=1), 1)
    f1 = 2 * correct / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return {
        "accuracy": float(correct.sum() / matrix.sum()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
    }
