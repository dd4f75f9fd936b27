"""Exact contributions of features to the answers of trees.

The value of a set of features is that of path-dependent TreeSHAP (Lundberg et al., Nature Machine Intelligence, 2020):
where a tree splits on an absent feature, both branches count, each with its share of the training rows. A Shapley value
is the integral of a derivative of the multilinear extension (Owen, Management Science, 1972). For one leaf, that is a
polynomial of one variable, which Gauss-Legendre quadrature integrates exactly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

INFINITY = math.inf
LEAF, AT_MOST, BELOW, ABOVE, AT_LEAST = "LEAF", "BRANCH_LEQ", "BRANCH_LT", "BRANCH_GT", "BRANCH_GTE"
COVER_TOLERANCE = 0.01
"""Difference between the rows of a node and those of its branches; XGBoost rounds them."""
MOST_CELLS = 2_000_000
"""Leaves times the features on the way to one, at most: to read so many takes some 300 MB and seconds."""


class NoTrees(ValueError):
    """Trees that lack something; the message says what."""


class _Split(NamedTuple):
    """The values of one feature that lead to a leaf: above `low`, up to `high`, and NaN if `takes_missing`.

    `share` is the share of the training rows that take these branches.
    """

    low: float = -INFINITY
    high: float = INFINITY
    takes_missing: bool = True
    share: float = 1.0


ANY = _Split()
Path = dict[int, _Split]


class TreeContributions:
    """The leaves of all trees.

    Args:
        attributes: the attributes of ONNX's operator TreeEnsembleClassifier or TreeEnsembleRegressor.
        prefix: `class` or `target`, the prefix of the attributes with the values of leaves.
        features: number of features.
        outputs: number of values of a leaf.

    Attributes:
        base: the expected values [outputs] of the training rows.
        trees: number of trees.
        cost: arithmetic operations of a row.

    Raises:
        NoTrees: the trees lack the numbers of their training rows, split in another way than by order, or have too
            many leaves.
    """

    def __init__(self, attributes: Mapping[str, Any], prefix: str, features: int, outputs: int) -> None:
        leaves, depth = attributes["nodes_modes"].count(LEAF.encode()), _longest_path(attributes)
        if leaves * depth > MOST_CELLS:
            raise NoTrees(
                f"its trees have too many leaves, {leaves:,} with up to {depth} features each; leaves times features "
                f"may be at most {MOST_CELLS:,}; train fewer or smaller trees"
            )
        self._columns = np.zeros((leaves, depth), int)
        splits = np.tile(np.array(ANY)[:, None, None], (1, leaves, depth))
        numbers: dict[tuple[int, int], int] = {}
        for number, (leaf, path) in enumerate(_paths(attributes)):
            numbers[leaf] = number
            self._columns[number, : len(path)] = list(path)
            splits[:, number, : len(path)] = np.array([*path.values()]).reshape(-1, len(ANY)).T
        self._low, self._high, missing, self._shares = splits
        self._takes_missing = missing.astype(bool)
        self._values = np.zeros((outputs, leaves))
        entries = (attributes[f"{prefix}_{name}"] for name in ("treeids", "nodeids", "ids", "weights"))
        for tree, node, output, weight in zip(*entries, strict=True):
            self._values[output if outputs > 1 else 0, numbers[tree, node]] += weight
        self.trees = len(set(attributes["nodes_treeids"]))
        if attributes.get("aggregate_function", b"SUM") == b"AVERAGE":
            self._values /= self.trees
        points, weights = np.polynomial.legendre.leggauss((depth + 1) // 2)
        self._points = list(zip((points + 1) / 2, weights / 2, strict=True))
        self._features = features
        self._offset = np.array(attributes.get("base_values", [0.0] * outputs), float)
        self.base: NDArray[np.float64] = self._values @ self._shares.prod(axis=1) + self._offset
        self.cost = self._columns.size * (len(points) + outputs)

    def of(self, row: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the contributions [outputs, features] to the answer to a row; with `base`, they add up to it."""
        values = row[self._columns]
        missing = np.isnan(values)
        follows = np.where(missing, self._takes_missing, (values > self._low) & (values <= self._high)).astype(float)
        changes = np.zeros_like(self._shares)
        for point, weight in self._points:
            factors = follows * point + self._shares * (1 - point)
            changes += weight * factors.prod(axis=1, keepdims=True) / factors
        changes *= follows - self._shares
        columns = self._columns.ravel()
        return np.stack(
            [np.bincount(columns, (changes * each[:, None]).ravel(), self._features) for each in self._values]
        )


def _longest_path(attributes: Mapping[str, Any]) -> int:
    """Return the number of features on the way to a leaf, at most: the splits on it, or the features of all splits."""
    names = ("treeids", "nodeids", "truenodeids", "falsenodeids", "featureids")
    trees, ids, true, false, features = (np.array(attributes[f"nodes_{name}"]) for name in names)
    branches = np.array([mode != LEAF.encode() for mode in attributes["nodes_modes"]])
    used = len(np.unique(features[branches]))
    first = trees * (ids.max() + 1)
    order = np.argsort(first + ids)
    depth, level = 0, np.flatnonzero(branches & (ids == 0))
    while level.size and depth < used:
        children = np.concatenate([first[level] + true[level], first[level] + false[level]])
        level = order[np.searchsorted(first + ids, np.unique(children), sorter=order)]
        depth, level = depth + 1, level[branches[level]]
    return depth or 1


def _paths(attributes: Mapping[str, Any]) -> Iterator[tuple[tuple[int, int], Path]]:
    """Yield each leaf, as tree and node, with its path: the values of features that lead to it."""
    names = ("modes", "featureids", "values", "truenodeids", "falsenodeids", "hitrates")
    ids = list(zip(attributes["nodes_treeids"], attributes["nodes_nodeids"], strict=True))
    missing = attributes.get("nodes_missing_value_tracks_true") or [0] * len(ids)
    columns = (*(attributes.get(f"nodes_{name}") or [0] * len(ids) for name in names), missing)
    nodes = dict(zip(ids, zip(*columns, strict=True), strict=True))
    for tree in dict.fromkeys(tree for tree, _ in ids):
        pending: list[tuple[int, Path]] = [(0, {})]
        while pending:
            number, path = pending.pop()
            # pop: a node that is reached twice makes this no tree, and raises KeyError.
            mode, feature, value, true, false, rows, missing_is_true = nodes.pop((tree, number))
            if mode == LEAF.encode():
                yield (tree, number), path
                continue
            covers = [nodes[tree, child][5] for child in (true, false)]
            if not all(covers) or abs(sum(covers) - rows) > COVER_TOLERANCE * rows:
                raise NoTrees("its trees lack the numbers of training rows; train it again")
            lower, upper, lower_is_true = _halves(mode.decode(), value)
            for child, is_true, cover in ((true, True, covers[0]), (false, False, covers[1])):
                old = path.get(feature, ANY)
                low, high = lower if is_true == lower_is_true else upper
                split = _Split(
                    max(old.low, low),
                    min(old.high, high),
                    old.takes_missing and bool(missing_is_true) == is_true,
                    old.share * cover / rows,
                )
                pending.append((child, path | {feature: split}))


def _halves(mode: str, value: float) -> tuple[tuple[float, float], tuple[float, float], bool]:
    """Return the values below and above a threshold, and True if the condition is true for those below."""
    threshold = value
    if mode in (BELOW, AT_LEAST):  # the threshold itself is above
        threshold = float(np.nextafter(np.float32(value), np.float32(-INFINITY)))
    elif mode not in (AT_MOST, ABOVE):
        raise NoTrees(f"its trees split by {mode}")
    return (-INFINITY, threshold), (threshold, INFINITY), mode in (AT_MOST, BELOW)
