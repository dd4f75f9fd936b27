"""Prediction of one row by a forest within the interpreter, where calling ONNX Runtime costs more than the trees.

The method is QuickScorer (Lucchese et al., SIGIR 2015), with Python's integers as bit vectors. Every leaf of every
tree is a bit. Each feature has a mask for each interval between its thresholds: the leaves that stay reachable for a
value in that interval. The bitwise AND of the masks of a row leaves one leaf per tree. The votes for a class are the
remaining bits among the leaves of that class.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import xor
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

MULTICLASS = ["TreeEnsembleClassifier", "ArgMax", "Div"]
BINARY = ["TreeEnsembleClassifier", "Gather", "Sub", "Concat", "ArgMax", "Div"]
"""Operators of a forest that counts votes before it divides them, as `workloads/ml/model/onnx_export.py` writes it."""
BRANCH, LEAF = b"BRANCH_LEQ", b"LEAF"
MAX_MASK_BYTES = 1 << 20
"""Larger masks would cost more memory than the faster prediction is worth."""
Node = tuple[int, int]
"""A tree and a node in it; the root is node 0."""


class Forest:
    """A forest of `trees` in which each leaf votes for one class; `load_forest` builds it.

    Args:
        edges: for each feature, its thresholds in ascending order.
        masks: for each feature, the reachable leaves in each interval: up to the first edge, ..., above the last.
        votes: for each class, its leaves.
        trees: number of trees.
    """

    def __init__(self, edges: list[list[float]], masks: list[list[int]], votes: list[int], trees: int) -> None:
        self._edges = edges
        self._features = list(zip(edges, masks, strict=True))
        self._votes = votes
        # The model divides in float32, so the shares must be rounded the same way.
        self._shares: list[float] = (np.arange(trees + 1, dtype=np.float32) / np.float32(trees)).tolist()

    def predict(self, row: Sequence[float]) -> tuple[int, list[float]]:
        """Return the class index and the probabilities [classes] of a row [features] of float32 values."""
        reachable = -1
        for value, (edges, masks) in zip(row, self._features, strict=True):
            reachable &= masks[bisect_left(edges, value)]
        votes = [(reachable & leaves).bit_count() for leaves in self._votes]
        return votes.index(max(votes)), [self._shares[count] for count in votes]

    def probes(self, count: int) -> NDArray[np.float32]:
        """Return random rows [count, features] on the thresholds and just above them; the same on every call."""
        random, columns = np.random.default_rng(0), []
        for edges in self._edges:
            values = np.array(edges or [0], np.float32)
            columns.append(random.choice(np.concatenate([values, np.nextafter(values, np.float32(np.inf))]), count))
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class _Leaf:
    """A leaf; `intervals` has the first and the last interval of each feature that lead to it."""

    label: int
    intervals: list[tuple[int, int]]


def load_forest(content: bytes, features: int, classes: int) -> Forest | None:
    """Return the forest of an ONNX model; None if it is no such forest, or is too large."""
    try:
        return _load_forest(content, features, classes)
    except (LookupError, ValueError):  # written in another of ONNX's forms: an attribute is missing or too short
        return None


def _load_forest(content: bytes, features: int, classes: int) -> Forest | None:
    graph = onnx.load_model_from_string(content).graph
    operators = [node.op_type for node in graph.node]
    if operators not in (MULTICLASS, BINARY):
        return None
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in graph.node[0].attribute}
    labels = _labels(attributes, binary=operators == BINARY)
    if labels is None or set(attributes["nodes_modes"]) - {BRANCH, LEAF}:
        return None
    edges = _edges(attributes, features)
    if sum(len(each) + 1 for each in edges) * len(labels) > MAX_MASK_BYTES * 8:
        return None
    changes = [[0] * (len(each) + 2) for each in edges]
    votes = [0] * classes
    for number, leaf in enumerate(_leaves(attributes, edges, labels)):
        votes[leaf.label] |= 1 << number
        for change, (first, last) in zip(changes, leaf.intervals, strict=True):
            change[first] ^= 1 << number
            change[last + 1] ^= 1 << number
    masks = [list(accumulate(change[:-1], xor)) for change in changes]
    return Forest(edges, masks, votes, len(set(attributes["nodes_treeids"])))


def _labels(attributes: dict[str, Any], *, binary: bool) -> dict[Node, int] | None:
    """Return the class of each leaf; None if a leaf votes for several classes or has another weight than 1."""
    labels: dict[Node, int] = {}
    entries = (attributes[f"class_{name}"] for name in ("treeids", "nodeids", "ids", "weights"))
    for tree, node, label, weight in zip(*entries, strict=True):
        if weight not in (0, 1):
            return None
        if binary:  # the operator has the weights of the second class alone
            labels[tree, node] = int(weight)
        elif weight and labels.setdefault((tree, node), label) != label:
            return None
    return labels


def _edges(attributes: dict[str, Any], features: int) -> list[list[float]]:
    edges: list[set[float]] = [set() for _ in range(features)]
    nodes = (attributes[f"nodes_{name}"] for name in ("modes", "featureids", "values"))
    for mode, feature, value in zip(*nodes, strict=True):
        if mode == BRANCH:
            edges[feature].add(value)
    return [sorted(values) for values in edges]


def _leaves(attributes: dict[str, Any], edges: list[list[float]], labels: dict[Node, int]) -> Iterator[_Leaf]:
    names = ("modes", "featureids", "values", "truenodeids", "falsenodeids")
    keys = zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True)
    nodes = dict(zip(keys, zip(*(attributes[f"nodes_{name}"] for name in names), strict=True), strict=True))
    positions = [{value: position for position, value in enumerate(each)} for each in edges]
    all_intervals = [(0, len(each)) for each in edges]
    for tree in set(attributes["nodes_treeids"]):
        pending = [(0, all_intervals)]
        while pending:
            node, intervals = pending.pop()
            # pop: a node that is reached twice makes this no tree, and raises KeyError.
            mode, feature, value, below, above = nodes.pop((tree, node))
            if mode == LEAF:
                yield _Leaf(labels[tree, node], intervals)
                continue
            position, (first, last) = positions[feature][value], intervals[feature]
            for child, interval in ((below, (first, min(last, position))), (above, (max(first, position + 1), last))):
                pending.append((child, [*intervals[:feature], interval, *intervals[feature + 1 :]]))
