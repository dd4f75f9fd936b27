"""Drift: the distance between the inputs that a model is served and its training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import Column
from workloads.ml.data.table import short

RANGES = 10
ROWS_PER_RANGE = 20
"""Least training rows of a range: with fewer rows, the share of a range is mostly chance."""
LEAST_SHARE = 1e-4
"""Replaces a share of 0, whose logarithm is not finite."""
LEAST_ROWS = 500
"""Least served rows for an index.

Take N training rows and M served rows in B ranges. Without drift, the index is (1/N + 1/M) times a chi-squared number
with B - 1 degrees of freedom (Yurdakul, see `stability_index`). With 500 rows, a model that was trained on 120 rows
exceeds `DRIFTED` by chance about once in a thousand measurements.
"""
DRIFTED = 0.2
"""Usual reading of the index: up to 0.1 the distribution is unchanged, from 0.2 on it is another one."""
LAST = "inf"
MISSING = "missing"
"""Label of missing values in the model server's metrics; other categories of a feature with `unknown` are among them.
"""

Counts = Mapping[str, Mapping[str, float]]
"""Number of served rows by feature and by the upper end of the range."""


class TrainingRanges(TypedDict):
    """The distribution of a feature in training.

    `edges`, ascending, are the upper ends of all ranges but the last; an edge belongs to its range.
    `shares` [edges + 1] are the shares of the rows in each range, `missing` is that of the rows without a value.
    A feature that is never missing has no share `missing`. Neither has one that may be missing in the signature of an
    earlier version. Its `shares` are those of the rows with a value.
    """

    edges: list[float]
    shares: list[float]
    missing: NotRequired[float]


def compute_ranges(column: Column, *, may_miss: bool = False) -> TrainingRanges:
    """Return ranges that hold about the same number of rows each.

    There are ten ranges, or fewer for fewer than 200 rows with a value. Equal values are always in the same range.

    Args:
        column: The encoded values; at least one is not NaN.
        may_miss: True if served values may be NaN.
    """
    present = column[~np.isnan(column)]
    count = min(RANGES, max(2, len(present) // ROWS_PER_RANGE))
    quantiles = np.quantile(present, np.arange(1, count) / count, method="inverted_cdf")
    edges = sorted({short(edge) for edge in quantiles})
    # Count with the edges as written to the signature: the server counts with the same numbers.
    indices = np.searchsorted(np.array(edges, dtype=np.float32), present, side="left")
    counts = np.bincount(indices, minlength=len(edges) + 1)
    ranges = TrainingRanges(edges=edges, shares=[short(share) for share in counts / len(column)])
    if may_miss:
        ranges["missing"] = short(1 - len(present) / len(column))
    return ranges


def range_labels(edges: Sequence[float]) -> list[str]:
    """Return the upper ends of all ranges in the format of the model server's metrics."""
    return [*(f"{edge:.7g}" for edge in edges), LAST]


def stability_index(shares: Sequence[float], counts: NDArray[np.float64]) -> float:
    """Return the population stability index of `counts` [ranges] against `shares` [ranges]; 0 for equal shares.

    The index uses natural logarithms, as in B. Yurdakul, Statistical Properties of Population Stability Index, 2018.
    At least one count must be above 0.
    """
    trained = np.maximum(shares, LEAST_SHARE)
    served = np.maximum(counts / counts.sum(), LEAST_SHARE)
    return float(((served - trained) * np.log(served / trained)).sum())


def measure(features: Sequence[Any], served: Counts) -> tuple[dict[str, float], int]:
    """Return the index by feature, and the number of served rows.

    A feature without ranges, or with fewer than `LEAST_ROWS` served rows, has no index. Rows without a value count if
    training recorded their share.

    Args:
        features: The features of a model's signature.
        served: Counts of the served rows.
    """
    indices, rows = {}, 0
    for feature in features:
        if "ranges" not in feature:
            continue
        ranges, by_range = feature["ranges"], served.get(feature["name"], {})
        labels, shares = range_labels(ranges["edges"]), ranges["shares"]
        if MISSING in ranges:
            labels, shares = [*labels, MISSING], [*shares, ranges[MISSING]]
        counts = np.array([by_range.get(label, 0.0) for label in labels])
        rows = max(rows, round(counts.sum()))
        if counts.sum() >= LEAST_ROWS:
            indices[feature["name"]] = stability_index(shares, counts)
    return indices, rows


def describe_drift(features: Sequence[Any], indices: Mapping[str, float], rows: int) -> str:
    """Return one sentence: the features that drifted, or the reason why nothing was measured."""
    if not any("ranges" in feature for feature in features):
        return "its signature does not describe the training data; train it again"
    if not indices:
        return f"{rows} rows were served, too few to measure drift; at least {LEAST_ROWS} are needed"
    drifted = [f"{name} ({index:.3g})" for name, index in indices.items() if index > DRIFTED]
    if drifted:
        return f"{', '.join(drifted)} drifted: an index above {DRIFTED}, of {rows} rows"
    name, index = max(indices.items(), key=lambda item: item[1])
    return f"nothing drifted: the largest index is {index:.3g}, of {name} and {rows} rows"
