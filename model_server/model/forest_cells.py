"""Prediction by a forest of few features: the votes of all trees are counted once, when it is loaded.

The thresholds of a feature divide its values into intervals. A cell is a combination of one interval for each feature,
so all rows of a cell receive the same votes. Rows then cost one search for each feature and one look-up.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from operator import getitem
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.model.voting_forest import VotingForest

COMPARED_EDGES = 120
"""Up to here, comparing all values with each edge is faster than searching the interval of each value."""


class ForestCells:
    """The table of the votes for each class in each cell.

    Attributes:
        least_rows: rows of a batch from which on the cells are faster than ONNX Runtime.
    """

    least_rows = 1

    def __init__(self, forest: VotingForest) -> None:
        used = [feature for feature, edges in enumerate(forest.edges) if edges]
        lengths = [len(forest.edges[feature]) + 1 for feature in used]
        votes = np.zeros((forest.classes, *lengths), np.min_scalar_type(forest.trees))
        for leaf in forest.leaves:
            intervals = [leaf.intervals[feature] for feature in used]
            votes[leaf.label][tuple(slice(first, last + 1) for first, last in intervals)] += 1
        self._votes = np.ascontiguousarray(votes.reshape(forest.classes, -1).T)
        strides = [math.prod(lengths[position + 1 :]) for position in range(len(used))]
        edges = [np.array(forest.edges[feature], np.float32) for feature in used]
        self._features = list(zip(used, edges, strides, strict=True))
        self._shares = forest.shares
        self._classes = forest.classes
        self._table = self._votes.ravel().data
        # For each feature, the distance of each interval from the first one in the table.
        self._distances = [[0]] * len(forest.edges)
        for feature, length, stride in zip(used, lengths, strides, strict=True):
            self._distances[feature] = [interval * stride * forest.classes for interval in range(length)]
        self._edges = forest.edges
        self._outputs = forest.outputs_of_votes()

    def predict(self, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Return the class indices [rows] and the probabilities [rows, classes] of rows [rows, features].

        A missing value is above all thresholds.
        """
        cells = np.zeros(len(batch), np.int64)
        for feature, edges, stride in self._features:
            cells += np.multiply(_intervals(edges, np.ascontiguousarray(batch[:, feature])), stride, dtype=np.int64)
        votes = self._votes[cells]
        return [votes.argmax(axis=1), self._shares[votes]]

    def predict_row(self, row: Sequence[float]) -> tuple[int, tuple[float, ...]]:
        """Return the class index and the probabilities [classes] of a row [features] of float32 values.

        A missing value must be infinity.
        """
        start = sum(map(getitem, self._distances, map(bisect_left, self._edges, row)))
        return self._outputs(*self._table[start : start + self._classes])


def _intervals(edges: NDArray[np.float32], values: NDArray[np.float32]) -> NDArray[Any]:
    """Return the number of edges below each value; NaN is above all edges."""
    if len(edges) > COMPARED_EDGES:
        return np.searchsorted(edges, values)
    intervals = np.full(len(values), len(edges), np.uint8)
    for edge in edges:
        intervals -= values <= edge
    return intervals
