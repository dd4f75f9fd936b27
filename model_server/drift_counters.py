"""Counters of predicted values by range of the training data; comparing both shares shows drift."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Gauge

from model_server.model.model import Model

WATCHED_FEATURES = 100
"""Number of features of a model that are counted, from the first on: each costs two dozen time series per pod."""
LAST = "inf"
"""Upper end of the last range in the metrics."""
MISSING = "missing"
"""Label of missing values in the metrics, instead of the upper end of a range."""


@dataclass(frozen=True)
class _WatchedFeature:
    column: int
    edges: NDArray[np.float32]
    may_miss: bool
    counters: list[Counter]
    """A counter for each range, and one for missing values if the feature may miss."""


class DriftCounters:
    """Counters of one model, one for each feature and range.

    Args:
        model: the model; features without recorded ranges are not counted.
        values: counter with the labels model, version, feature and upto (the upper end of a range, or `MISSING`).
        shares: gauge with the same labels; it is set to the shares of the training data.
    """

    def __init__(self, model: Model, values: Counter, shares: Gauge) -> None:
        self._features = len(model.signature.features)
        self._watched: list[_WatchedFeature] = []
        for column, feature in enumerate(model.signature.features[:WATCHED_FEATURES]):
            if feature.ranges is None:
                continue
            labels = [
                (model.name, model.version, feature.name, upto)
                for upto in (*(f"{edge:.7g}" for edge in feature.ranges.edges), LAST, MISSING)
            ]
            if not feature.may_miss:
                del labels[-1]
            trained = [*feature.ranges.shares, *([] if feature.ranges.missing is None else [feature.ranges.missing])]
            for label, share in zip(labels, trained, strict=False):
                shares.labels(*label).set(share)
            edges = np.array(feature.ranges.edges, dtype=np.float32)
            counters = [values.labels(*label) for label in labels]
            self._watched.append(_WatchedFeature(column, edges, feature.may_miss, counters))

    def count(self, inputs: bytes) -> None:
        """Count rows, given as the bytes of float32 [rows, features]."""
        rows = np.frombuffer(inputs, np.float32).reshape(-1, self._features)
        for feature in self._watched:
            column = np.ascontiguousarray(rows[:, feature.column])
            # One comparison for each edge is several times as fast as searching the range of each value.
            above = [int(np.count_nonzero(column > edge)) for edge in feature.edges]
            missing = int(np.count_nonzero(np.isnan(column))) if feature.may_miss else 0
            counts = [low - high for low, high in pairwise([len(column) - missing, *above, 0])]
            for counter, count in zip(feature.counters, [*counts, missing], strict=False):
                if count:
                    counter.inc(count)
