"""Scores of a model, in numpy alone: importing scikit-learn takes three seconds of each step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.target import Labels, Values

Confusion = NDArray[np.int64]
"""[classes, classes]: rows are the true class, columns the predicted one."""
Probabilities = NDArray[np.floating]
"""[rows, classes]"""


def confusion(labels: Labels, predicted: Labels, classes: int) -> Confusion:
    """Return the confusion matrix of `labels` [rows] and `predicted` [rows]."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    return matrix


def scores(matrix: Confusion) -> dict[str, float]:
    """Return accuracy, precision, recall and F1, each in [0, 1].

    The last three are means over the classes; a class without a correct prediction counts as 0. A column beyond the
    classes counts predictions of unknown classes.
    """
    correct = np.diag(matrix)
    true, predicted = matrix.sum(axis=1), matrix.sum(axis=0)[: len(matrix)]
    precision = correct / np.maximum(predicted, 1)
    recall = correct / np.maximum(true, 1)
    f1 = 2 * correct / np.maximum(predicted + true, 1)
    return {
        "accuracy": float(correct.sum() / matrix.sum()),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
    }


def probability_scores(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Return the area under the ROC curve in [0, 1] and the logarithmic loss.

    With more than two classes, the area is the mean over the classes, each against the rest. Without rows of a class,
    its curve and therefore the area do not exist.
    """
    found = np.clip(probabilities[np.arange(len(labels)), labels].astype(np.float64), np.finfo(np.float32).eps, 1)
    loss = {"log_loss": float(-np.log(found).mean())}
    classes = range(probabilities.shape[1])
    truths = [labels == index for index in ([1] if len(classes) == 2 else classes)]
    if not all(0 < truth.sum() < len(truth) for truth in truths):
        return loss
    columns = probabilities[:, 1:].T if len(classes) == 2 else probabilities.T
    areas = [roc_area(truth, column) for truth, column in zip(truths, columns, strict=True)]
    return {"roc_auc": float(np.mean(areas)), **loss}


def anomaly_scores(
    truth: NDArray[np.bool_], found: NDArray[np.bool_], column: NDArray[np.floating]
) -> dict[str, float]:
    """Return precision, recall and F1 of the found anomalies, and the area under the ROC curve of their scores.

    Args:
        truth: [rows], True for the anomalies.
        found: [rows], True for the rows that the model calls anomalies.
        column: [rows], scores of the rows.
    """
    correct = int((truth & found).sum())
    measured = {
        "precision": correct / max(int(found.sum()), 1),
        "recall": correct / max(int(truth.sum()), 1),
        "f1": 2 * correct / max(int(found.sum() + truth.sum()), 1),
    }
    return measured | ({"roc_auc": roc_area(truth, column)} if 0 < truth.sum() < len(truth) else {})


def roc_area(truth: NDArray[np.bool_], column: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve: the chance that a row of the class scores above another one.

    Args:
        truth: [rows], True for the rows of the class; there is a row of each kind.
        column: [rows], scores of the rows.
    """
    _, index, counts = np.unique(column, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[index]  # equal scores share their mean rank
    inside = int(truth.sum())
    return float((ranks[truth].sum() - inside * (inside + 1) / 2) / (inside * (len(truth) - inside)))


def regression_scores(truth: Values, predicted: Values) -> dict[str, float]:
    """Return root mean squared error, mean absolute error and R2: means over the targets."""
    errors = predicted.astype(np.float64) - truth
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=0)
    squares = (errors**2).sum(axis=0)
    explained = np.where(spread > 0, 1 - squares / np.where(spread > 0, spread, 1), np.where(squares > 0, 0.0, 1.0))
    return {
        "rmse": float(np.sqrt((errors**2).mean(axis=0)).mean()),
        "mae": float(np.abs(errors).mean()),
        "r2": float(explained.mean()),
    }
