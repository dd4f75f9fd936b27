"""Prediction of large batches by a forest: each tree is a formula of truth values, which NumPy computes for all rows.

Whether a tree votes for a class is `below if the value is at most the threshold, else above`, from its leaves up. A
branch costs a comparison of a whole column and at most three operations on bytes, each for 32 or more rows at once.
ONNX Runtime follows one path of each tree for each row, and the processor waits at each of its branches.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from model_server.model.voting_forest import Branch, Tree, VotingForest

MOST_ROWS = 16_384
"""Rows that are predicted together: their truth values stay in the fast cache of the processor."""


class _Truth(NamedTuple):
    """The truth values in a register, or their opposites."""

    register: int
    is_opposite: bool


class ForestFormulas:
    """Formulas of the trees that vote for a class, for each class but the first one.

    Attributes:
        least_rows: rows of a batch from which on the formulas are faster than ONNX Runtime.
    """

    def __init__(self, forest: VotingForest) -> None:
        self._trees, self._shares = forest.trees, forest.shares
        self.least_rows = forest.branches // 2
        self._registers = 2 + max(map(_depth, forest.roots))
        # An operation has the positions of its two operands and of its result in the list of `_votes`.
        self._operations: list[tuple[np.ufunc, int, int, int]] = []
        self._byte = len(forest.edges)
        self._truth = self._byte + self._registers
        self._vote = self._truth + self._registers
        self._threshold = self._vote + forest.classes
        self._thresholds: list[np.float32] = []
        self._certain = np.zeros((forest.classes, 1), np.min_scalar_type(forest.trees))
        for label in range(1, forest.classes):
            for root in forest.roots:
                self._count(self._formula(root, label, 0), label)

    def predict(self, batch: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Return the class indices [rows] and the probabilities [rows, classes] of rows [rows, features]."""
        blocks = np.array_split(batch, math.ceil(len(batch) / MOST_ROWS))
        votes = np.concatenate([self._votes(block).T for block in blocks])
        return [votes.argmax(axis=1), self._shares[votes]]

    def _votes(self, block: NDArray[np.float32]) -> NDArray[Any]:
        """Return the votes [classes, rows] for each class."""
        votes = np.repeat(self._certain, len(block), axis=1)
        registers = np.empty((self._registers, len(block)), np.uint8)
        columns = np.ascontiguousarray(block.T)
        arrays: list[Any] = [*columns, *registers, *registers.view(np.bool_), *votes, *self._thresholds]
        for function, first, second, result in self._operations:
            function(arrays[first], arrays[second], arrays[result])
        np.subtract(self._trees, votes[1:].sum(axis=0), out=votes[0], casting="unsafe")
        return votes

    def _formula(self, tree: Tree, label: int, register: int) -> _Truth | bool:
        """Add the operations of a tree; return whether it votes for the class, with truth values in the register."""
        if isinstance(tree, int):
            return tree == label
        below = self._formula(tree.below, label, register)
        above = self._formula(tree.above, label, register if isinstance(below, bool) else register + 1)
        if isinstance(below, bool):
            return self._formula_above(tree, below, above, register)
        if isinstance(above, bool):
            condition = self._compare(tree, register + 1)
            if above == below.is_opposite:
                self._add(np.bitwise_and, condition, register, self._byte + register)
            else:
                self._add(np.greater, condition, register, self._truth + register)
            return _Truth(register, above)
        condition = self._compare(tree, register + 2)
        self._add(np.bitwise_xor, register, register + 1, self._byte + register)
        if below.is_opposite == above.is_opposite:
            self._add(np.bitwise_and, condition, register, self._byte + register)
        else:
            self._add(np.greater, condition, register, self._truth + register)
        self._add(np.bitwise_xor, register, register + 1, self._byte + register)
        return _Truth(register, above.is_opposite)

    def _formula_above(self, tree: Branch, below: bool, above: _Truth | bool, register: int) -> _Truth | bool:
        """Add the operations of a branch whose values up to the threshold all have the same answer."""
        if above == below:
            return below
        if isinstance(above, bool):
            return _Truth(self._compare(tree, register), above)
        condition = self._compare(tree, register + 1)
        if below == above.is_opposite:
            self._add(np.greater, register, condition, self._truth + register)
        else:
            self._add(np.bitwise_or, register, condition, self._byte + register)
        return above

    def _compare(self, tree: Branch, register: int) -> int:
        """Add the comparison of a branch, and return the register of its result."""
        self._operations.append(
            (np.less_equal, tree.feature, self._threshold + len(self._thresholds), self._truth + register)
        )
        self._thresholds.append(np.float32(tree.threshold))
        return register

    def _count(self, vote: _Truth | bool, label: int) -> None:
        """Add the operation that counts the vote of a tree for a class."""
        if isinstance(vote, bool):
            self._certain[label] += vote
            return
        self._certain[label] += vote.is_opposite
        votes = self._vote + label
        count = np.subtract if vote.is_opposite else np.add
        self._operations.append((count, votes, self._byte + vote.register, votes))

    def _add(self, function: np.ufunc, first: int, second: int, result: int) -> None:
        """Add an operation on two registers."""
        self._operations.append((function, self._byte + first, self._byte + second, result))


def _depth(tree: Tree) -> int:
    return 0 if isinstance(tree, int) else 1 + max(_depth(tree.below), _depth(tree.above))
