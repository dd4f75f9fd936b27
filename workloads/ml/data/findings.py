"""Suspicions about a table: columns that explain the target alone, constants, row numbers and lost digits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.column_settings import IGNORE, as_yaml
from workloads.ml.data.columns import Column, ColumnType
from workloads.ml.data.table import Table
from workloads.ml.data.target import Labels, Values

ALONE = 0.99
"""Share of the target that one column explains, from which on it is suspicious."""
ROWS_PER_BIN = 20
MOST_BINS = 20
MOST_FRACTION_MISSING = 0.5


def find_suspicions(table: Table) -> list[str]:
    """Return a sentence for each suspicious column."""
    found = []
    for name, kind, column in zip(table.features, table.types, table.rows.T, strict=True):
        present = column[~np.isnan(column)]
        missing = 1 - len(present) / len(column)
        explained = explained_share(column, kind, table)
        if missing > MOST_FRACTION_MISSING:
            found.append(f"column {name}: {missing:.0%} of the values are missing")
        if len(present) and present.min() == present.max():
            found.append(f"column {name}: all values are equal, so it explains nothing")
        elif explained >= ALONE:
            found.append(
                f"column {name}: it explains {explained:.1%} of {table.target} alone; if it is known only after "
                f"{table.target}, leave it out with `columns: {as_yaml(name, IGNORE)}`"
            )
        elif kind == ColumnType.INTEGER and _counts_rows(column, table.numbers):
            found.append(f"column {name}: it counts the rows; leave it out with `columns: {as_yaml(name, IGNORE)}`")
    return found


def _counts_rows(column: Column, numbers: NDArray[np.int64]) -> bool:
    """Return True if the values rise or fall by one from row to row."""
    steps = np.diff(column.astype(np.float64))
    return bool((steps == np.diff(numbers)).all() or (steps == -np.diff(numbers)).all())


def explained_share(column: Column, kind: str, table: Table) -> float:
    """Return the share of the target that one feature explains: the accuracy, or R2.

    The rows are divided into bins of equal or near values. Each row is predicted from the other rows of its bin. The
    share of a classification counts from the accuracy of the most frequent class.
    """
    bins = _bins(column, discrete=kind in (ColumnType.BOOLEAN, ColumnType.CATEGORY))
    if table.classes:
        return _explained_classes(bins, table.labels.astype(np.int64), len(table.classes))
    targets = table.labels.astype(np.float64).reshape(len(bins), -1)
    return max(_explained_values(column, bins, values) for values in targets.T)


def _bins(column: Column, *, discrete: bool) -> NDArray[np.int64]:
    """Return the bin of each row; missing values are a bin."""
    present = column[~np.isnan(column)]
    if discrete or not len(present):
        edges = np.unique(present)
    else:
        count = min(MOST_BINS, max(2, len(present) // ROWS_PER_BIN))
        edges = np.unique(np.quantile(present, np.arange(1, count) / count, method="inverted_cdf"))
    return np.searchsorted(np.append(edges, np.inf), column, side="left")


def _explained_classes(bins: NDArray[np.int64], labels: Labels, classes: int) -> float:
    counts = np.zeros((bins.max() + 1, classes))
    np.add.at(counts, (bins, labels), 1)
    largest = counts.max(axis=1, keepdims=True)
    others = np.where(counts == largest, np.sort(counts, axis=1)[:, -2:-1], largest)
    accuracy = counts[counts - 1 > others].sum() / len(labels)
    most_frequent = np.bincount(labels).max() / len(labels)
    return float((accuracy - most_frequent) / (1 - most_frequent))


def _explained_values(column: Column, bins: NDArray[np.int64], values: Values) -> float:
    """Return the larger of the shares that the means of the bins and a line explain."""
    count, total = np.bincount(bins), np.bincount(bins, weights=values)
    errors = (values - (total[bins] - values) / np.maximum(count[bins] - 1, 1))[count[bins] > 1]
    by_bins = 1 - float((errors**2).mean() / values.var()) if len(errors) else 0.0
    known = ~np.isnan(column)
    if known.sum() < len(column) / 2 or np.ptp(column[known]) == 0 or np.ptp(values[known]) == 0:
        return by_bins
    return max(by_bins, float(np.corrcoef(column[known].astype(np.float64), values[known])[0, 1] ** 2))
