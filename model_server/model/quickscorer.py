"""One row through a forest within the interpreter, where the call of ONNX Runtime costs more than the trees.

The method is QuickScorer's (Lucchese et al., SIGIR 2015), with Python's integers as bit vectors. Every leaf of every
tree is a bit. For each feature, and each interval between its thresholds, a mask has the leaves that a value there
leaves open. Those that all features leave open are the leaves that a row falls into, one a tree; the votes for a class
are the bits among them that are the class's own.
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
"""The operators of a forest whose votes are counted before they are divided, as `workloads/ml/model/onnx_export.py` writes it."""
BRANCH, LEAF = b"BRANCH_LEQ", b"LEAF"
MOST_BYTES = 1 << 20
"""Masks that take more than this would cost a server more memory than a quicker answer is worth."""
Node = tuple[int, int]
"""A tree and a node in it; a tree's root is its node 0."""


class Forest:
    """A forest of `trees` each of whose leaves votes for one class; `of_onnx` makes one.

    For each feature, `edges` are its thresholds, ascending, and `masks` [edges + 1] the leaves that are open up to the
    first edge, up to the second, ..., and above the last. For each class, `votes` has the leaves that are for it.
    """

    def __init__(self, edges: list[list[float]], masks: list[list[int]], votes: list[int], trees: int) -> None:
        self._edges, self._masks = edges, masks
        self._votes = votes
        # Divided as the model does it, in float32.
        self._shares: list[float] = (np.arange(trees + 1, dtype=np.float32) / np.float32(trees)).tolist()

    def predict(self, row: Sequence[float]) -> tuple[int, list[float]]:
        """The class index and the probabilities [classes] of a row [features] of numbers that float32 has."""
        open_leaves = -1
        for value, edges, masks in zip(row, self._edges, self._masks, strict=True):
            open_leaves &= masks[bisect_left(edges, value)]
        votes = [(open_leaves & leaves).bit_count() for leaves in self._votes]
        return votes.index(max(votes)), [self._shares[count] for count in votes]

    def probes(self, count: int) -> NDArray[np.float32]:
        """Random rows [count, features] of values on the thresholds and right above them, the same each time."""
        random, columns = np.random.default_rng(0), []
        for edges in self._edges:
            values = np.array(edges or [0], np.float32)
            columns.append(random.choice(np.concatenate([values, np.nextafter(values, np.float32(np.inf))]), count))
        return np.stack(columns, axis=1)


@dataclass(frozen=True)
class _Leaf:
    """`intervals` has, for each feature, the first and the last of the intervals between edges that lead here."""

    label: int
    intervals: list[tuple[int, int]]


def of_onnx(content: bytes, features: int, classes: int) -> Forest | None:
    """The forest of an ONNX model; None where it is none, its leaves are not for one class, or it is too large."""
    try:
        return _of_onnx(content, features, classes)
    except (LookupError, ValueError):  # it is written in another of ONNX's ways: something is not there, or not as long
        return None


def _of_onnx(content: bytes, features: int, classes: int) -> Forest | None:
    graph = onnx.load_model_from_string(content).graph
    operators = [node.op_type for node in graph.node]
    if operators not in (MULTICLASS, BINARY):
        return None
    given = {each.name: onnx.helper.get_attribute_value(each) for each in graph.node[0].attribute}
    labels = _labels(given, binary=operators == BINARY)
    if labels is None or set(given["nodes_modes"]) - {BRANCH, LEAF}:
        return None
    edges = _edges(given, features)
    if sum(len(each) + 1 for each in edges) * len(labels) > MOST_BYTES * 8:
        return None
    changes = [[0] * (len(each) + 2) for each in edges]
    votes = [0] * classes
    for number, leaf in enumerate(_leaves(given, edges, labels)):
        votes[leaf.label] |= 1 << number
        for change, (first, last) in zip(changes, leaf.intervals, strict=True):
            change[first] ^= 1 << number
            change[last + 1] ^= 1 << number
    masks = [list(accumulate(change[:-1], xor)) for change in changes]
    return Forest(edges, masks, votes, len(set(given["nodes_treeids"])))


def _labels(given: dict[str, Any], *, binary: bool) -> dict[Node, int] | None:
    """The class that each leaf is for; None where one is for several, or has another weight than 1."""
    labels: dict[Node, int] = {}
    entries = (given[f"class_{name}"] for name in ("treeids", "nodeids", "ids", "weights"))
    for tree, node, label, weight in zip(*entries, strict=True):
        if weight not in (0, 1):
            return None
        if binary:  # the operator has the weights of the second class alone
            labels[tree, node] = int(weight)
        elif weight and labels.setdefault((tree, node), label) != label:
            return None
    return labels


def _edges(given: dict[str, Any], features: int) -> list[list[float]]:
    edges: list[set[float]] = [set() for _ in range(features)]
    for mode, feature, value in zip(
        given["nodes_modes"], given["nodes_featureids"], given["nodes_values"], strict=True
    ):
        if mode == BRANCH:
            edges[feature].add(value)
    return [sorted(values) for values in edges]


def _leaves(given: dict[str, Any], edges: list[list[float]], labels: dict[Node, int]) -> Iterator[_Leaf]:
    names = ("modes", "featureids", "values", "truenodeids", "falsenodeids")
    nodes = zip(given["nodes_treeids"], given["nodes_nodeids"], strict=True)
    found = dict(zip(nodes, zip(*(given[f"nodes_{name}"] for name in names), strict=True), strict=True))
    places = [{value: place for place, value in enumerate(each)} for each in edges]
    everywhere = [(0, len(each)) for each in edges]
    for tree in set(given["nodes_treeids"]):
        ahead = [(0, everywhere)]
        while ahead:
            node, intervals = ahead.pop()
            mode, feature, value, below, above = found.pop((tree, node))  # once: what is there twice is no tree
            if mode == LEAF:
                yield _Leaf(labels[tree, node], intervals)
                continue
            place, (first, last) = places[feature][value], intervals[feature]
            for child, interval in ((below, (first, min(last, place))), (above, (max(first, place + 1), last))):
                ahead.append((child, [*intervals[:feature], interval, *intervals[feature + 1 :]]))
