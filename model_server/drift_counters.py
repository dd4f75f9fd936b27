"""Counts what a model is asked about by the ranges of its training data: who compares the two sees drift."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from model_server import telemetry
from model_server.model.package import ModelSignature

AT_ONCE_BYTES = 1 << 14
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


class DriftCounters:
    """Counts rows, given as the bytes of [rows, features] float32; those of small requests when `count` is called.

    One by one they would cost a request more than all its other metrics.
    """

    def __init__(self, model: str, version: str, signature: ModelSignature) -> None:
        self._kept: list[bytes] = []
        self._features = len(signature.features)
        self._watched: list[_Watched] = []
        for place, feature in enumerate(signature.features[:WATCHED_FEATURES]):
            if feature.ranges:
                names = [*(f"{edge:.7g}" for edge in feature.ranges.edges), LAST]
                counters = telemetry.of_ranges(model, version, feature.name, names, feature.ranges.shares)
                self._watched.append(_Watched(place, np.array(feature.ranges.edges, dtype=np.float32), counters))

    def see(self, rows: bytes) -> None:
        """Take note of the rows of one request."""
        if len(rows) >= AT_ONCE_BYTES:
            self._add(rows)
        elif self._watched:
            self._kept.append(rows)

    def count(self) -> None:
        """Count what has been kept so far."""
        kept = telemetry.drain(self._kept)
        self._add(b"".join(kept))

    def _add(self, content: bytes) -> None:
        rows = np.frombuffer(content, np.float32).reshape(-1, self._features)
        for watched in self._watched:
            places = np.searchsorted(watched.edges, rows[:, watched.place], side="left")
            for counter, count in zip(watched.counters, np.bincount(places).tolist(), strict=False):
                if count:
                    counter.inc(count)
