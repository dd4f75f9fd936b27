"""Rows on which an exported model is compared with the trained one.

They are training rows, rows near the steps and decision boundaries, and rows with missing values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import ColumnType
from workloads.ml.data.encoding import ColumnSchema, Rows, allows_nan

TRAINING_ROWS = 2000
BOUNDARY_PAIRS = 200
BISECTIONS = 10
MISSING_ROWS = 300
MISSING_SHARE = 0.3
NEIGHBOURS = 32
NEIGHBOUR_DISTANCE = 1e-6
"""Relative distance of neighbours: some units in the last place of float32."""


class ProbeRows:
    """Training rows of a model and the kinds of its features.

    Args:
        rows: Training rows [rows, features].
        columns: Schema of the features; empty if all are numbers that are never missing.
    """

    def __init__(self, rows: Rows, columns: Sequence[ColumnSchema]) -> None:
        self._random = np.random.default_rng(0)
        features = rows.shape[1]
        whole = [column.get("type") in (ColumnType.BOOLEAN, ColumnType.CATEGORY) for column in columns]
        # A boolean or a category is never between two values.
        self._whole = np.array(whole or [False] * features)
        self._nullable = np.array([allows_nan(column) for column in columns] or [False] * features)
        chosen = self._random.choice(len(rows), TRAINING_ROWS, replace=False) if len(rows) > TRAINING_ROWS else ...
        self._sample = rows[chosen]

    def rows(self, predict: Callable[[Rows], NDArray[Any]]) -> Rows:
        """Return training rows, rows with missing values, and rows on both sides of steps of `predict`."""
        return np.concatenate([self._sample, self._rows_with_missing(), self._boundary_rows(predict)])

    def neighbours(self, row: NDArray[np.float32]) -> Rows:
        """Return the row and rows that differ from it by some units in the last place."""
        scale = np.maximum(np.abs(row), np.finfo(np.float32).tiny) * NEIGHBOUR_DISTANCE * ~self._whole
        near = row + scale * self._random.uniform(-1, 1, (NEIGHBOURS, len(row)))
        return np.concatenate([near, [row]]).astype(np.float32)

    def _rows_with_missing(self) -> Rows:
        rows = self._sample[: MISSING_ROWS if self._nullable.any() else 0].copy()
        rows[(self._random.random(rows.shape) < MISSING_SHARE) & self._nullable] = np.nan
        rows[:1, self._nullable] = np.nan
        return rows

    def _boundary_rows(self, predict: Callable[[Rows], NDArray[Any]]) -> Rows:
        """Return rows on both sides of a change, between training rows of different predictions."""
        rows = self._sample
        predicted = predict(rows)
        first, second = self._random.integers(len(rows), size=(2, 4 * BOUNDARY_PAIRS))
        differs = (predicted[first] != predicted[second]).reshape(len(first), -1).any(axis=1)
        pairs = np.flatnonzero(differs)[:BOUNDARY_PAIRS]
        low, high = rows[first[pairs]], rows[second[pairs]]
        low_end, high_end = predicted[first[pairs]], predicted[second[pairs]]
        for _ in range(BISECTIONS if len(pairs) else 0):
            middle = ((low + high) / 2).astype(np.float32)
            either = np.where(self._random.random(low.shape) < 0.5, low, high)
            middle = np.where(self._whole, either, middle)
            same = _nearer(predict(middle), low_end, high_end)[:, None]
            low, high = np.where(same, middle, low), np.where(same, high, middle)
        return np.concatenate([low, high])


def _nearer(predicted: NDArray[Any], low: NDArray[Any], high: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each row whether its prediction is the first end; of numbers, whether it is nearer to it."""
    if np.issubdtype(predicted.dtype, np.integer):
        return np.asarray(predicted == low)
    distances = [np.abs(predicted - end).reshape(len(predicted), -1).sum(axis=1) for end in (low, high)]
    return np.asarray(distances[0] < distances[1])
