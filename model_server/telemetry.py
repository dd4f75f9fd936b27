"""Prometheus metrics of all workers, summed up over the files in the folder PROMETHEUS_MULTIPROC_DIR."""

from __future__ import annotations

import os
import threading
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector

from model_server.drift_counters import DriftCounters
from model_server.metrics_folder import process_exists
from model_server.model.agreement import Agreement
from model_server.model.model import Model

ModelKey = tuple[str, str, str]
"""Name, version and SHA-256 of a model."""
RequestKey = tuple[str, str, str]
"""Path of a request's route, its method, and the status of its response."""
Item = TypeVar("Item")
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
FILES = ("counter", "histogram", "gauge_livemax")
"""Beginnings of the names of a worker's files, one for each kind of metric that `Telemetry` uses."""
NO_CLASSES = ("",)
"""Label of all predictions of a regression; Prometheus reads an empty label as no label."""
IMMEDIATE_BYTES = 1 << 14
"""Size of a batch that is counted at once: counting is cheap beside predicting it, and keeping it takes memory."""


class _BulkHistogram(Histogram):
    """A histogram that takes many observations in one call."""

    def observe_all(self, values: Sequence[float]) -> None:
        """Observe each value."""
        indices = np.searchsorted(self._upper_bounds, values, side="left")
        for bucket, count in zip(self._buckets, np.bincount(indices).tolist(), strict=False):
            if count:
                bucket.inc(count)
        self._sum.inc(sum(values))


@dataclass(frozen=True)
class _RecordedModel:
    """Predictions of a model since the last flush: class indices, and rows as bytes of float32 [rows, features].

    The lists hold no containers: the garbage collector would scan those.
    """

    classes: Sequence[str]
    drift: DriftCounters
    agreement: Agreement | None = None
    labels: list[int] = field(default_factory=list)
    inputs: list[bytes] = field(default_factory=list)


class Telemetry:
    """Metrics of one worker.

    Recording is cheap, because it only appends to lists. `flush` counts what was recorded; one thread calls it every
    second. Counting each request on its own would take longer than predicting.

    Args:
        champion: the model that each served model is compared with; None for none.
    """

    def __init__(self, champion: Model | None = None) -> None:
        self._champion = champion
        model, drift = ("model", "version", "sha256"), ("model", "version", "feature", "upto")
        # MultiProcessCollector reads the values from files, so no registry holds these objects.
        self._requests = Counter(
            "model_server_requests", "Answered requests.", ("path", "method", "status"), registry=None
        )
        self._seconds = _BulkHistogram(
            "model_server_request_seconds", "Seconds to answer a request.", ("path",), buckets=BUCKETS, registry=None
        )
        self._predictions = Counter(
            "model_server_predictions", "Predicted rows by class.", ("model", "version", "class"), registry=None
        )
        self._model = Gauge(
            "model_server_model_info",
            "1 for the served model, 0 for an earlier one.",
            model,
            multiprocess_mode="livemax",
            registry=None,
        )
        self._values = Counter(
            "model_server_input_values",
            "Values of predicted rows by feature and range of the training data.",
            drift,
            registry=None,
        )
        self._shares = Gauge(
            "model_server_training_share",
            "Share of the training data by feature and range.",
            drift,
            multiprocess_mode="livemax",
            registry=None,
        )
        self._compared = Counter(
            "model_server_compared_rows",
            "Rows that the served model and the champion predict the same, or differently.",
            ("model", "version", "champion", "result"),
            registry=None,
        )
        self._refused = Counter(
            "model_server_models_refused", "Times a worker refused a model.", ("model",), registry=None
        )
        self._models: dict[ModelKey, _RecordedModel] = {}
        self._recorded_requests: defaultdict[RequestKey, list[float]] = defaultdict(list)
        self._draining = threading.Lock()

    def record_request(self, request: RequestKey, seconds: float) -> None:
        """Record one request and the seconds that its response took."""
        self._recorded_requests[request].append(seconds)

    def record_predictions(self, model: Model, labels: Sequence[int], inputs: bytes) -> None:
        """Record predicted class indices [rows] and their rows as bytes of float32 [rows, features]."""
        recorded = self._models[model.key]
        recorded.labels.extend(labels)
        if recorded.agreement:
            recorded.agreement.keep(inputs)
        if len(inputs) >= IMMEDIATE_BYTES:
            recorded.drift.count(inputs)
        else:
            recorded.inputs.append(inputs)

    def record_swap(self, model: Model, previous: Model | None) -> None:
        """Record that `model` is served instead of `previous`; call this before the first prediction."""
        if model.key not in self._models:
            drift = DriftCounters(model, self._values, self._shares)
            agreement = Agreement(model, self._champion, self._compared) if self._champion else None
            self._models[model.key] = _RecordedModel(model.signature.classes or NO_CLASSES, drift, agreement)
        if previous:
            self._model.labels(*previous.key).set(0)
        self._model.labels(*model.key).set(1)

    def record_refusal(self, model: str) -> None:
        """Record that this worker refused a version of a model; "" for a model without a name."""
        self._refused.labels(model).inc()

    def flush(self) -> None:
        """Count everything that was recorded since the last call.

        An error in one counter is raised only after all other counters were updated.
        """
        with ExitStack() as counting:
            for request, seconds in list(self._recorded_requests.items()):
                counting.callback(self._count_requests, request, self._drain(seconds))
            for (name, version, _), recorded in list(self._models.items()):
                labels, inputs = self._drain(recorded.labels), self._drain(recorded.inputs)
                for label, rows in Tally(labels).items():
                    counting.callback(self._count_label, (name, version, recorded.classes[label]), rows)
                counting.callback(recorded.drift.count, b"".join(inputs))
                if recorded.agreement:
                    counting.callback(recorded.agreement.count)

    def exposition(self) -> bytes:
        """Return the metrics of all workers in Prometheus' text format."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _count_requests(self, request: RequestKey, seconds: Sequence[float]) -> None:
        if seconds:
            self._requests.labels(*request).inc(len(seconds))
            self._seconds.labels(request[0]).observe_all(seconds)

    def _count_label(self, label: tuple[str, str, str], rows: int) -> None:
        self._predictions.labels(*label).inc(rows)

    def _drain(self, recorded: list[Item]) -> list[Item]:
        """Empty a list and return its items; other threads may append meanwhile."""
        with self._draining:
            items = recorded[:]
            del recorded[: len(items)]
        return items


def forget_dead_workers() -> None:
    """Remove the gauges of workers that ended; their counters stay."""
    for file in Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).glob("gauge_live*_*.db"):
        if not process_exists(int(file.stem.rpartition("_")[2])):
            file.unlink(missing_ok=True)  # workers that start at once remove the same files


def create_files() -> None:
    """Create the files of this worker's metrics.

    Prometheus' client creates a file with the first metric. Until it has filled the file, the client of another worker
    cannot read it, and `exposition` fails there. So each file gets its name when it is complete.
    """
    for kind in FILES:
        file = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"], f"{kind}_{os.getpid()}.db")
        if not file.exists():  # the id may have been that of a worker that ended
            partial = file.with_suffix(".partial")
            MmapedDict(str(partial)).close()  # type: ignore[no-untyped-call]
            partial.rename(file)
