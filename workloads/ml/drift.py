"""Drift: how far what a model is asked about has moved away from what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.table import Column, short

RANGES = 10
ROWS_A_RANGE = 20
"""With fewer training rows in a range, its share says more of chance than of the data."""
LEAST_SHARE = 1e-4
"""In place of 0: the logarithm of a share that was never seen has no end."""
LEAST_ROWS = 500
"""Of served rows. By chance alone the index of N training rows and M served ones in B ranges is (1/N + 1/M) times a
chi-squared number with B - 1 degrees of freedom (Yurdakul, see below): with 500, even a model of 120 rows is said to
have drifted by chance about once in a thousand times.
"""
DRIFTED = 0.2
"""The usual reading of the index: up to 0.1 as in training, from 0.2 on something else."""
LAST = "inf"

Counts = Mapping[str, Mapping[str, float]]
"""Served rows by feature and by the upper end of their range."""


class Ranges(TypedDict):
    """A feature's values in training by ranges. `edges`, ascending, are the upper ends of all ranges but the last and
    belong to them; `shares` [edges + 1] of the rows are in each.
    """

    edges: list[float]
    shares: list[float]


def ranges(column: Column) -> Ranges:
    """Ranges of about as many rows each: ten, or fewer where there are few rows; equal values share one."""
    count = min(RANGES, max(2, len(column) // ROWS_A_RANGE))
    quantiles = np.quantile(column, np.arange(1, count) / count, method="inverted_cdf")
    edges = sorted({short(edge) for edge in quantiles})
    # Counted with the edges as they are written down, as the server will.
    places = np.searchsorted(np.array(edges, dtype=np.float32), column, side="left")
    counts = np.bincount(places, minlength=len(edges) + 1)
    return Ranges(edges=edges, shares=[short(share) for share in counts / len(column)])


def names(edges: Sequence[float]) -> list[str]:
    """The upper ends of all ranges, as the model server writes them."""
    return [*(f"{edge:.7g}" for edge in edges), LAST]


def stability_index(shares: Sequence[float], counts: NDArray[np.float64]) -> float:
    """The population stability index of counts [ranges], not all 0: 0 where their shares are those [ranges].

    With natural logarithms, as in B. Yurdakul, Statistical Properties of Population Stability Index, 2018.
    """
    was = np.maximum(shares, LEAST_SHARE)
    now = np.maximum(counts / counts.sum(), LEAST_SHARE)
    return float(((now - was) * np.log(now / was)).sum())


def measured(features: Sequence[Any], served: Counts) -> tuple[dict[str, float], int]:
    """The index by feature, and the number of served rows.

    Args:
        features: of a signature; those without ranges have no index, and none has one with too few rows.
    """
    found, rows = {}, 0
    for feature in features:
        if "ranges" not in feature:
            continue
        edges, shares = feature["ranges"]["edges"], feature["ranges"]["shares"]
        of_feature = served.get(feature["name"], {})
        counts = np.array([of_feature.get(name, 0.0) for name in names(edges)])
        rows = max(rows, round(counts.sum()))
        if counts.sum() >= LEAST_ROWS:
            found[feature["name"]] = stability_index(shares, counts)
    return found, rows


def told(features: Sequence[Any], indices: Mapping[str, float], rows: int) -> str:
    """One sentence on what was measured, or on why nothing was."""
    if not any("ranges" in feature for feature in features):
        return "it does not say what its training data were like; train it anew"
    if not indices:
        return f"{rows} rows were served, too few to tell; it takes {LEAST_ROWS}"
    drifted = [f"{name} ({index:.3g})" for name, index in indices.items() if index > DRIFTED]
    if drifted:
        return f"{', '.join(drifted)} drifted: an index above {DRIFTED}, of {rows} rows"
    name, index = max(indices.items(), key=lambda item: item[1])
    return f"nothing drifted: the largest index is {index:.3g}, of {name} and {rows} rows"
