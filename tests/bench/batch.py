"""Rows a second of batch prediction: through the model server, and by the libraries in this process."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession, SessionOptions
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from model_server.model.model import Model
from model_server.model.model_package import read_package
from settings.serving import ServingSettings
from tests.bench.forest import FEATURES, FLOWERS, TREES, Forest, save_forest
from tests.bench.http.contenders import ours
from tests.bench.http.servers import running

SERVED_ROWS = ServingSettings().max_rows
ROWS = 200_000
BASE, OURS = "scikit-learn, 1 thread", "ours, 1 thread"
REPEATS = 5


def through_the_server(forest: Forest, folder: Path) -> dict[str, float]:
    """Return rows a second by body format, for POST requests with the maximum number of rows."""
    table = _flowers(SERVED_ROWS).round(1).tolist()
    bodies = {
        "CSV": ("text/csv", "\n".join([",".join(FEATURES), *(",".join(map(str, row)) for row in table)])),
        "JSON": ("application/json", json.dumps([dict(zip(FEATURES, row, strict=True)) for row in table])),
    }
    server = ours(forest.directory)
    with running(server, folder):

        def post(content_type: str, body: str) -> None:
            status, text = server.post(body, content_type)
            if status != 200:
                raise RuntimeError(f"{server.name} answers {status} {text} to {SERVED_ROWS} rows of {content_type}")

        return {name: _rows_per_second(SERVED_ROWS, partial(post, *body)) for name, body in bodies.items()}


def in_this_process(forest: Forest) -> dict[str, float]:
    """Return rows a second of the libraries with one thread and one per core, and of the server's model, by name."""
    rows = _flowers(ROWS).astype(np.float32)

    def sklearn(threads: int) -> Callable[[], object]:
        forest.trained.set_params(n_jobs=threads)
        return lambda: forest.trained.predict(rows)

    def onnx(threads: int) -> Callable[[], object]:
        options = SessionOptions()
        options.intra_op_num_threads = threads
        session = InferenceSession(forest.directory / "model.onnx", options)
        return lambda: session.run(["label"], {"features": rows})

    model = Model(None, read_package(forest.directory, None, {}))
    return {
        BASE: _rows_per_second(ROWS, sklearn(1)),
        OURS: _rows_per_second(ROWS, lambda: model.predict(rows)),
        "ONNX Runtime, 1 thread": _rows_per_second(ROWS, onnx(1)),
        "scikit-learn, all cores": _rows_per_second(ROWS, sklearn(-1)),
        "ONNX Runtime, all cores": _rows_per_second(ROWS, onnx(0)),
    }


def wide_ratios(folder: Path) -> list[float]:
    """Return the processor time of scikit-learn's `predict` over the model's, for a forest of 30 features.

    Both predict the same batch in turns, so that they share the noise of the computer.
    """
    data = load_breast_cancer()
    forest = RandomForestClassifier(n_estimators=TREES, max_depth=12, random_state=123).fit(data.data, data.target)
    random = np.random.default_rng(0)
    rows = random.choice(data.data, SERVED_ROWS) * random.uniform(0.9, 1.1, (SERVED_ROWS, data.data.shape[1]))
    save_forest("cancer", forest, data, data.feature_names.tolist(), folder / "wide")
    model, batch = Model(None, read_package(folder / "wide", None, {})), rows.astype(np.float32)
    if not np.array_equal(model.predict(batch)[0][0], forest.predict(batch)):
        raise RuntimeError("the model and scikit-learn's forest predict different classes")

    def ratio() -> float:
        taken = []
        for predict in (forest.predict, model.predict):
            start = time.process_time()
            predict(batch)
            taken.append(time.process_time() - start)
        return taken[0] / taken[1]

    ratio()  # a warm-up
    return [ratio() for _ in range(REPEATS)]


def _flowers(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return flowers [rows, features], drawn uniformly between the smallest and the largest of the data."""
    known = np.array(FLOWERS)
    return np.random.default_rng(0).uniform(known.min(axis=0), known.max(axis=0), (count, known.shape[1]))


def _rows_per_second(rows: int, predict: Callable[[], object]) -> float:
    """Return the median of several repetitions after a warm-up."""
    predict()
    took = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        predict()
        took.append(time.perf_counter() - start)
    return rows / statistics.median(took)
