"""Curves of a classifier's probabilities, in numpy alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.ml.evaluation.scores import Probabilities

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Points [points] of a curve: x and y."""
CALIBRATION_RANGES = 10
MAXIMUM_POINTS = 100
"""Points of a curve that the pages of Kubeflow Pipelines show."""


def roc_curve(truth: NDArray[np.bool_], column: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    """Return false positive rate, true positive rate and threshold of each point, for descending thresholds.

    Args:
        truth: [rows], True for the rows of the class; there is a row of each kind.
        column: [rows], probabilities of the class.
    """
    thresholds, found, others = _counts(truth, column)
    zero = np.zeros(1)
    return (
        np.concatenate([zero, others / others[-1]]),
        np.concatenate([zero, found / found[-1]]),
        np.concatenate([[thresholds[0] + 1], thresholds]),
    )


def precision_recall_curve(truth: NDArray[np.bool_], column: NDArray[np.floating]) -> Curve:
    """Return recall and precision of each point, for descending thresholds."""
    _, found, others = _counts(truth, column)
    return found / found[-1], found / (found + others)


def calibration_curve(truth: NDArray[np.bool_], probabilities: Probabilities) -> Curve:
    """Return the mean predicted probability and the share of true ones, for each of ten ranges that has values.

    Args:
        truth: [rows, classes], True for the class of each row.
        probabilities: [rows, classes].
    """
    flat, hits = probabilities.ravel(), truth.ravel()
    index = np.minimum((flat * CALIBRATION_RANGES).astype(np.int64), CALIBRATION_RANGES - 1)
    counts = np.bincount(index, minlength=CALIBRATION_RANGES)
    used = counts > 0
    sums = (np.bincount(index, values, CALIBRATION_RANGES)[used] / counts[used] for values in (flat, hits))
    predicted, observed = sums
    return predicted, observed


def thinned(*columns: NDArray[np.float64]) -> list[list[float]]:
    """Return at most `MAXIMUM_POINTS` points of a curve, evenly spaced, with the first and the last."""
    count = len(columns[0])
    index = np.unique(np.linspace(0, count - 1, min(count, MAXIMUM_POINTS)).round().astype(np.int64))
    return [column[index].tolist() for column in columns]


def _counts(truth: NDArray[np.bool_], column: NDArray[np.floating]) -> tuple[NDArray[np.float64], ...]:
    """Return descending thresholds, and the rows of the class and other rows at or above each."""
    order = np.argsort(-column, kind="stable")
    values, hits = column[order].astype(np.float64), truth[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)  # equal values share a point
    found = np.cumsum(hits)[last].astype(np.float64)
    return values[last], found, last + 1 - found
