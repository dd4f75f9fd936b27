"""A forest that votes, read from its ONNX model: the thresholds of its features, its trees, and their leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray

from model_server.model.prediction_task import kept_answers

MULTICLASS = ["TreeEnsembleClassifier", "ArgMax", "Div"]
BINARY = ["TreeEnsembleClassifier", "Gather", "Sub", "Concat", "ArgMax", "Div"]
"""Operators of a forest that counts votes before it divides them, as `workloads/ml/model/onnx_export.py` writes it."""
BRANCH, LEAF = b"BRANCH_LEQ", b"LEAF"
MAX_MASK_BYTES = 1 << 20
"""Larger masks would cost more memory than the faster prediction of single rows is worth."""
MAX_CELL_BYTES = 1 << 22
"""A larger table of cells would cost more memory than the faster prediction of batches is worth."""
MAX_CELL_VOTES = 1 << 28
"""Votes that are counted for a table of cells; more would delay the start of the server by seconds."""
MAX_BRANCHES = 16_000
"""With more branches, computing all of them is hardly faster than ONNX Runtime, which follows one path in each tree."""
MAX_DEPTH = 100
"""Branches on a path; a tree that is no more than a list would exceed Python's limit of recursion."""
Node = tuple[int, int]
"""A tree and a node in it; the root is node 0."""


class Branch(NamedTuple):
    """A branch: `below` is for values up to the threshold, `above` for others and for NaN; a leaf is its class."""

    feature: int
    threshold: float
    below: Branch | int
    above: Branch | int


Tree = Branch | int


@dataclass(frozen=True)
class Leaf:
    """A leaf; `intervals` has the first and the last interval of each feature that lead to it."""

    label: int
    intervals: list[tuple[int, int]]


@dataclass(frozen=True)
class VotingForest:
    """A forest in which each leaf votes for one class.

    Attributes:
        edges: for each feature, its thresholds in ascending order. They separate the intervals.
        roots: the trees.
        classes: number of classes.
    """

    edges: list[list[float]]
    roots: list[Tree]
    classes: int

    @property
    def trees(self) -> int:
        """Number of trees."""
        return len(self.roots)

    @cached_property
    def leaves(self) -> list[Leaf]:
        """The leaves of all trees that a value reaches."""
        return list(_leaves(self.roots, self.edges))

    @cached_property
    def branches(self) -> int:
        """Number of branches of all trees."""
        return sum(map(_count_branches, self.roots))

    @property
    def shares(self) -> NDArray[np.float32]:
        """The share of each number of votes, rounded as the model does, which divides in float32."""
        return np.arange(self.trees + 1, dtype=np.float32) / np.float32(self.trees)

    @property
    def has_small_masks(self) -> bool:
        """True if a mask of all leaves for each interval fits into the memory for single rows."""
        return _mask_bytes(self.edges, self.branches + self.trees) <= MAX_MASK_BYTES

    @property
    def has_few_cells(self) -> bool:
        """True if the votes for each combination of intervals fit into the memory for batches."""
        return _are_few_cells(self.edges, self.classes, self.trees)

    @property
    def has_few_branches(self) -> bool:
        """True if a batch may compute all branches of all trees, for each class but the first one."""
        return _are_few_branches(self.branches, self.classes)

    def outputs_of_votes(self) -> Callable[..., tuple[int, tuple[float, ...]]]:
        """Return the function from the votes for each class to the class index and the probabilities [classes]."""
        return lru_cache(kept_answers(self.classes))(partial(_outputs, self.shares.tolist()))

    def probes(self, count: int) -> NDArray[np.float32]:
        """Return random rows [count, features] on the thresholds and just above them; the same on every call."""
        random, columns = np.random.default_rng(0), []
        for edges in self.edges:
            values = np.array(edges or [0], np.float32)
            columns.append(random.choice(np.concatenate([values, np.nextafter(values, np.float32(np.inf))]), count))
        return np.stack(columns, axis=1)


def _outputs(shares: Sequence[float], *votes: int) -> tuple[int, tuple[float, ...]]:
    return votes.index(max(votes)), tuple([shares[count] for count in votes])


def load_forest(content: bytes, features: int, classes: int) -> VotingForest | None:
    """Return the forest of an ONNX model; None if it is no such forest, or is too large."""
    try:
        return _load_forest(content, features, classes)
    except (LookupError, ValueError):  # written in another of ONNX's forms: an attribute is missing or too short
        return None


def _load_forest(content: bytes, features: int, classes: int) -> VotingForest | None:
    graph = onnx.load_model_from_string(content).graph
    operators = [node.op_type for node in graph.node]
    if operators not in (MULTICLASS, BINARY):
        return None
    attributes = {each.name: onnx.helper.get_attribute_value(each) for each in graph.node[0].attribute}
    labels = _labels(attributes, binary=operators == BINARY)
    if labels is None or set(attributes["nodes_modes"]) - {BRANCH, LEAF}:
        return None
    edges, trees = _edges(attributes, features), len(set(attributes["nodes_treeids"]))
    has_small_masks = _mask_bytes(edges, len(labels)) <= MAX_MASK_BYTES
    are_few = _are_few_cells(edges, classes, trees) or _are_few_branches(len(labels) - trees, classes)
    if not (has_small_masks or are_few):
        return None
    return VotingForest(edges, _roots(attributes, labels), classes)


def _mask_bytes(edges: list[list[float]], leaves: int) -> int:
    return sum(len(each) + 1 for each in edges) * leaves // 8


def _are_few_cells(edges: list[list[float]], classes: int, trees: int) -> bool:
    cells = math.prod(len(each) + 1 for each in edges)
    bytes_of_cell = classes * np.min_scalar_type(trees).itemsize
    return cells * bytes_of_cell <= MAX_CELL_BYTES and cells * trees <= MAX_CELL_VOTES


def _are_few_branches(branches: int, classes: int) -> bool:
    return branches * (classes - 1) <= MAX_BRANCHES


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


def _roots(attributes: dict[str, Any], labels: dict[Node, int]) -> list[Tree]:
    names = ("modes", "featureids", "values", "truenodeids", "falsenodeids")
    keys = zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True)
    nodes = dict(zip(keys, zip(*(attributes[f"nodes_{name}"] for name in names), strict=True), strict=True))

    def subtree(tree: int, node: int, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise ValueError(f"tree {tree} is deeper than {MAX_DEPTH} branches")
        # pop: a node that is reached twice makes this no tree, and raises KeyError.
        mode, feature, value, below, above = nodes.pop((tree, node))
        if mode == LEAF:
            return labels[tree, node]
        return Branch(feature, value, subtree(tree, below, depth + 1), subtree(tree, above, depth + 1))

    return [subtree(tree, 0, 0) for tree in dict.fromkeys(attributes["nodes_treeids"])]


def _count_branches(tree: Tree) -> int:
    return 0 if isinstance(tree, int) else 1 + _count_branches(tree.below) + _count_branches(tree.above)


def _leaves(roots: list[Tree], edges: list[list[float]]) -> Iterator[Leaf]:
    positions = [{value: position for position, value in enumerate(each)} for each in edges]
    pending = [(root, [(0, len(each)) for each in edges]) for root in roots]
    while pending:
        tree, intervals = pending.pop()
        if isinstance(tree, int):
            yield Leaf(tree, intervals)
            continue
        feature = tree.feature
        position, (first, last) = positions[feature][tree.threshold], intervals[feature]
        for child, low, high in (
            (tree.below, first, min(last, position)),
            (tree.above, max(first, position + 1), last),
        ):
            if low <= high:  # otherwise no value reaches the branch
                pending.append((child, [*intervals[:feature], (low, high), *intervals[feature + 1 :]]))
