"""Counts what a model is asked about by the ranges of its training data: who compares the two sees drift."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from model_server import metrics
from model_server.package import Signature

AT_ONCE_ROWS = 1000
"""From so many on, counting them costs next to nothing beside predicting them, and keeping them takes memory."""
WATCHED_FEATURES = 100
"""The first of a model; each is two dozen time series of every pod."""
LAST = "inf"
"""The upper end of the last range in the metrics."""


@dataclass(frozen=True)
class _Watched:
    place: int
    edges: NDArray[np.float32]
    counters: list[Counter]


class Inputs:
    """Counts rows [rows, features] float32; those of small requests together, when `count` is called.

    One by one they would cost a request more than all its other metrics.
    """

    def __init__(self, model: str, version: str, signature: Signature) -> None:
        self._kept: deque[NDArray[np.float32]] = deque()
        self._watched: list[_Watched] = []
        for place, feature in enumerate(signature.features[:WATCHED_FEATURES]):
            if feature.ranges:
                names = [*(f"{edge:.7g}" for edge in feature.ranges.edges), LAST]
                counters = metrics.of_ranges(model, version, feature.name, names, feature.ranges.shares)
                self._watched.append(_Watched(place, np.array(feature.ranges.edges, dtype=np.float32), counters))

    def see(self, rows: NDArray[np.float32]) -> None:
        """Take note of the rows of one request."""
        if len(rows) >= AT_ONCE_ROWS:
            self._add(rows)
        elif self._watched:
            self._kept.append(rows)

    def count(self) -> None:
        """Count what has been kept so far."""
        kept = []
        with suppress(IndexError):  # another thread was faster
            for _ in range(len(self._kept)):
                kept.append(self._kept.popleft())
        if kept:
            self._add(np.concatenate(kept))

    def _add(self, rows: NDArray[np.float32]) -> None:
        for watched in self._watched:
            places = np.searchsorted(watched.edges, rows[:, watched.place], side="left")
            for counter, count in zip(watched.counters, np.bincount(places).tolist(), strict=False):
                if count:
                    counter.inc(count)
