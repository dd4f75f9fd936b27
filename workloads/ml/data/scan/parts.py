"""Training part and test part of a table of any size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.scan.table_scan import TableScan, join_rows
from workloads.ml.data.table import MOST_CELLS, PartWriter, Table, is_large, save_table, split
from workloads.ml.data.target import Labels, Values

TEST_SHARE = 5
"""The test part has one row of this number."""
MOST_TEST_ROWS = 500_000
SAMPLE_ROWS = 200_000
"""Rows that the report describes, at most."""
LEAST_CLASS_TEST_ROWS = 5


def write_parts(scan: TableScan, train: str, test: str, seed: int) -> Table:
    """Write the training part and the test part, and return the rows for the report.

    Of a large table, the test part is smaller than one row in five, so that the test has all its rows in memory. The
    report gets a random sample.

    Args:
        scan: The table.
        train: Path of the training part.
        test: Path of the test part.
        seed: Seed of the split.
    """
    rows, features = scan.description["rows"], len(scan.description["features"])
    share = min(1.0, SAMPLE_ROWS / rows, MOST_CELLS / (rows * max(features, 1)))
    if not is_large(rows, features):
        table = join_rows(scan.chunks())
        for path, part in zip((train, test), split(table.labels, seed), strict=True):
            save_table(path, table, part)
        return table.select(sample_mask(table.numbers, share))
    splitter = RowSplitter(scan.class_rows or [rows], features, seed)
    sampled = []
    with PartWriter(train, scan.description) as training, PartWriter(test, scan.description) as testing:
        for chunk in scan.chunks():
            tested = splitter.test_mask(chunk.labels)
            training.write(chunk.select(~tested))
            testing.write(chunk.select(tested))
            sampled.append(chunk.select(sample_mask(chunk.numbers, share)))
    return join_rows(sampled)


class RowSplitter:
    """Split of consecutive rows, without all rows in memory.

    Each class has the same share of test rows: one at random of each group of consecutive rows of the class. The split
    depends on the order of the rows and the seed, not on the chunks.

    Args:
        class_rows: Number of rows of each class; of a regression, the number of rows.
        features: Number of features.
        seed: Seed of the split.
    """

    def __init__(self, class_rows: Sequence[int], features: int, seed: int) -> None:
        most = max(1, min(MOST_TEST_ROWS, MOST_CELLS // max(features, 1)))
        group = -(-sum(class_rows) // most)
        self._groups = [max(TEST_SHARE, min(group, rows // LEAST_CLASS_TEST_ROWS)) for rows in class_rows]
        self._seen = [0] * len(class_rows)
        self._seed = seed

    def test_mask(self, labels: Labels | Values) -> NDArray[np.bool_]:
        """Return which of the next rows are test rows."""
        classes = labels if np.issubdtype(labels.dtype, np.integer) else np.zeros(len(labels), np.int64)
        mask = np.zeros(len(labels), dtype=bool)
        for index in np.unique(classes).tolist():
            rows, group = np.flatnonzero(classes == index), self._groups[index]
            positions = self._seen[index] + np.arange(len(rows))
            chosen = random_bits(positions // group, self._seed, index) % np.uint64(group)
            mask[rows] = positions % group == chosen
            self._seen[index] += len(rows)
        return mask


def sample_mask(numbers: NDArray[np.int64], share: float) -> NDArray[np.bool_]:
    """Return which rows belong to a random sample with this share of all rows."""
    if share >= 1:
        return np.ones(len(numbers), dtype=bool)
    return random_bits(numbers) < np.uint64(share * 2**64)


def random_bits(numbers: NDArray[np.int64], *seeds: int) -> NDArray[np.uint64]:
    """Return 64 random bits for each number, the same for equal numbers and seeds (SplitMix64)."""
    bits = numbers.astype(np.uint64)
    for seed in chain(seeds, [0]):
        bits = (bits + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed % 2**64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
        bits ^= bits >> np.uint64(31)
    return bits
