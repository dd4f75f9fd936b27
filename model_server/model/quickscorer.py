"""Prediction of one row by a forest of many cells within the interpreter, where calling ONNX Runtime costs more.

The method is QuickScorer (Lucchese et al., SIGIR 2015), with Python's integers as bit vectors. Every leaf of every
tree is a bit. Each feature has a mask for each interval between its thresholds: the leaves that stay reachable for a
value in that interval. The bitwise AND of the masks of a row leaves one leaf per tree. The votes for a class are the
remaining bits among the leaves of that class.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from operator import xor

from model_server.model.voting_forest import VotingForest


class QuickScorer:
    """The bit vectors of a forest."""

    def __init__(self, forest: VotingForest) -> None:
        changes = [[0] * (len(edges) + 2) for edges in forest.edges]
        self._votes = [0] * forest.classes
        for number, leaf in enumerate(forest.leaves):
            self._votes[leaf.label] |= 1 << number
            for change, (first, last) in zip(changes, leaf.intervals, strict=True):
                change[first] ^= 1 << number
                change[last + 1] ^= 1 << number
        masks = [list(accumulate(change[:-1], xor)) for change in changes]
        self._features = list(zip(forest.edges, masks, strict=True))
        self._outputs = forest.outputs_of_votes()

    def predict(self, row: Sequence[float]) -> tuple[int, tuple[float, ...]]:
        """Return the class index and the probabilities [classes] of a row [features] of float32 values."""
        reachable = -1
        for value, (edges, masks) in zip(row, self._features, strict=True):
            reachable &= masks[bisect_left(edges, value)]
        return self._outputs(*[(reachable & leaves).bit_count() for leaves in self._votes])
