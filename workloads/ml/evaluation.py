"""How good a classifier's answers are. Plain numpy: importing scikit-learn costs a step three seconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.ml.table import Labels

Confusion = NDArray[np.int64]
"""[classes, classes]: rows are the true class, columns the predicted one."""


def confusion(labels: Labels, predicted: Labels, classes: int) -> Confusion:
    """How often each class was taken for each."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def scores(matrix: Confusion) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as the mean over the classes (0 for a class never right); in [0, 1]."""
    right = np.diag(matrix)
    precision = right / np.maximum(matrix.sum(axis=0), 1)
    recall = right / np.maximum(matrix.sum(axis=1), 1)
    f1 = 2 * right / np.maximum(matrix.sum(axis=0) + matrix.sum(axis=1), 1)
    return {
        "accuracy": float(right.sum() / matrix.sum()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
    }
