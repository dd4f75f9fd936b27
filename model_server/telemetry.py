"""Prometheus metrics of all workers, summed up over files in the folder PROMETHEUS_MULTIPROC_DIR.

What a request has to tell is only noted while it is answered, and counted in those files once a second: one by one that
would take longer than to predict.
"""

from __future__ import annotations

import os
import threading
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from model_server.model.model import Model

Request = tuple[str, str, str]
"""The path of a request's route, its method, and the status of its answer."""
Noted = TypeVar("Noted")
MODEL = ("model", "version", "sha256")
REQUEST = ("path", "method", "status")
RANGE = ("model", "version", "feature", "upto")
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)


class _Times(Histogram):
    """A histogram that takes many observations together."""

    def observe_all(self, seconds: Sequence[float]) -> None:
        """Observe each."""
        places = np.searchsorted(self._upper_bounds, seconds, side="left")
        for bucket, count in zip(self._buckets, np.bincount(places).tolist(), strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(sum(seconds))


_requests = Counter("model_server_requests", "Answered requests.", REQUEST)
_seconds = _Times("model_server_request_seconds", "Seconds to answer a request.", ("path",), buckets=BUCKETS)
_predictions = Counter("model_server_predictions", "Predicted rows by class.", ("model", "version", "class"))
_model = Gauge(
    "model_server_model_info",
    "1 for the model served, 0 for one before it.",
    MODEL,
    multiprocess_mode="livemax",
)
_values = Counter(
    "model_server_input_values", "Values of predicted rows by feature and range of the training data.", RANGE
)
_shares = Gauge(
    "model_server_training_share",
    "Share of the training data by feature and range.",
    RANGE,
    multiprocess_mode="livemax",
)
_refused = Counter("model_server_models_refused", "Times a worker refused a model.")

_answers: defaultdict[Request, list[float]] = defaultdict(list)
_taking = threading.Lock()


def drain(noted: list[Noted]) -> list[Noted]:
    """What has been noted, which is then no longer there; other threads may note, and take, meanwhile."""
    with _taking:
        taken = noted[:]
        del noted[: len(taken)]
    return taken


def answered(request: Request, seconds: float) -> None:
    """Note one answer and the time it took."""
    _answers[request].append(seconds)


def count() -> None:
    """Count the answers noted since the last time."""
    taken = {request: drain(noted) for request, noted in list(_answers.items())}
    for request, seconds in taken.items():
        if seconds:
            _requests.labels(*request).inc(len(seconds))
            _seconds.labels(request[0]).observe_all(seconds)


def predicted(model: Model, labels: Sequence[int]) -> None:
    """Count predicted class indices [rows]."""
    for label, rows in Tally(labels).items():
        _predictions.labels(model.name, model.version, model.signature.classes[label]).inc(rows)


def of_ranges(model: str, version: str, feature: str, names: Sequence[str], shares: Sequence[float]) -> list[Counter]:
    """What counts a feature's values in each of its ranges, which are named by their upper ends; tells their shares."""
    for name, share in zip(names, shares, strict=True):
        _shares.labels(model, version, feature, name).set(share)
    return [_values.labels(model, version, feature, name) for name in names]


def serving(model: Model, before: Model | None) -> None:
    """Say that a model is served now, instead of the one before."""
    if before:
        _model.labels(before.name, before.version, before.signature.sha256).set(0)
    _model.labels(model.name, model.version, model.signature.sha256).set(1)


def refused() -> None:
    """Count a model that is not served."""
    _refused.inc()


def forget_dead_workers() -> None:
    """Drop what workers that are gone served; what they counted stays."""
    folder = os.environ["PROMETHEUS_MULTIPROC_DIR"]
    for file in Path(folder).glob("gauge_live*_*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
