"""Counters of predicted values by range of the training data."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from model_server.http import worker
from tests.server.running import Server, running, wait_until
from tests.server.training import Trained
from workloads.ml import drift
from workloads.ml.serving_counts import read_serving_counts

ROWS = 900


@pytest.fixture(scope="module")
def described(iris: Trained, folder: Path) -> Path:
    """Return the folder of the Iris forest with the ranges of its training data."""
    return with_ranges(iris, shutil.copytree(iris.folder, folder / "described"))


def with_ranges(trained: Trained, folder: Path) -> Path:
    signature = json.loads((folder / "signature.json").read_text())
    for feature, column in zip(signature["features"], trained.data.T, strict=True):
        feature["ranges"] = drift.compute_ranges(column)
    (folder / "signature.json").write_text(json.dumps(signature))
    return folder


@pytest.fixture
def watched(described: Path, tmp_path: Path) -> Iterator[Server]:
    """Start a server that no other test uses."""
    with running(tmp_path / "watched.log", DIRECTORY=described, VERSION="7", WORKERS=2) as server:
        yield server


def score_all(server: Server, iris: Trained, rows: Any) -> None:
    """Score a third of the rows one by one, a third in small requests, and a third in one request."""
    objects = [dict(zip(iris.features, map(float, row), strict=True)) for row in rows]
    singles, small, large = objects[0::3], objects[1::3], objects[2::3]
    for row in singles:
        assert server.score(row).ok
    for start in range(0, len(small), 10):
        assert server.score(small[start : start + 10]).ok
    assert server.score(large).ok


def counts(server: Server) -> drift.Counts:
    return read_serving_counts("", server.url, "iris", "7", hours=1)


def indices(server: Server, described: Path, rows: int) -> dict[str, float]:
    """Return the index of each feature as soon as this number of rows is counted."""
    wait_until(lambda: sum(counts(server)["petal_width"].values()) >= rows, "the rows are not counted")
    features = json.loads((described / "signature.json").read_text())["features"]
    found, counted = drift.measure(features, counts(server))
    assert counted == rows
    return found


def test_stability_index_rows_like_training_data_is_small(watched: Server, iris: Trained, described: Path) -> None:
    score_all(watched, iris, np.random.default_rng(0).choice(iris.data, ROWS))
    found = indices(watched, described, ROWS)
    assert set(found) == set(iris.features)
    assert max(found.values()) < 0.1


def test_stability_index_feature_in_other_unit_shows_drift_of_that_feature(
    watched: Server, iris: Trained, described: Path
) -> None:
    rows = np.random.default_rng(0).choice(iris.data, ROWS)
    rows[:, 2] /= 2.54
    score_all(watched, iris, rows)
    found = indices(watched, described, ROWS)
    assert found.pop("petal_length") > drift.DRIFTED
    assert max(found.values()) < 0.1


def test_input_values_value_on_edge_counts_in_range_below(watched: Server, iris: Trained, described: Path) -> None:
    (feature, *_) = json.loads((described / "signature.json").read_text())["features"]
    edges = feature["ranges"]["edges"]
    for edge in edges:
        assert watched.score(iris.rows()[0] | {"sepal_length": edge}).ok
    wait_until(lambda: sum(counts(watched)["sepal_length"].values()) == len(edges), "the rows are not counted")
    expected = dict.fromkeys(drift.range_labels(edges), 1.0) | {drift.LAST: 0.0}
    assert counts(watched)["sepal_length"] == expected


def test_training_share_all_ranges_are_exposed(watched: Server, described: Path) -> None:
    (feature, *_) = json.loads((described / "signature.json").read_text())["features"]
    pattern = r'model_server_training_share\{feature="sepal_length",.*upto="(.*)",version="7"\} (.*)'
    exposed = {upto: float(share) for upto, share in re.findall(pattern, watched.get("/metrics").text)}
    names, shares = drift.range_labels(feature["ranges"]["edges"]), feature["ranges"]["shares"]
    assert exposed == dict(zip(names, shares, strict=True))


def test_input_values_model_without_ranges_are_absent(server: Server, iris: Trained) -> None:
    assert server.score(iris.rows()[0]).ok
    assert "model_server_input_values_total" not in server.get("/metrics").text


def test_flush_forever_error_in_flush_continues(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class FailingTelemetry:
        errors: ClassVar[list[BaseException]] = [OSError("no space left"), KeyboardInterrupt()]

        def flush(self) -> None:
            raise self.errors.pop(0)

    monkeypatch.setattr(worker, "FLUSH_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        worker._flush_forever(FailingTelemetry())  # type: ignore[arg-type]
    assert "metrics are incomplete: no space left" in caplog.text


@pytest.mark.parametrize(
    "ranges", [{"edges": [2.0, 1.0], "shares": [0.5, 0.2, 0.3]}, {"edges": [1.0], "shares": [1.0]}]
)
def test_model_invalid_ranges_is_refused(described: Path, tmp_path: Path, ranges: dict[str, list[float]]) -> None:
    model = shutil.copytree(described, tmp_path / "model")
    signature = json.loads((model / "signature.json").read_text())
    signature["features"][0]["ranges"] = ranges
    (model / "signature.json").write_text(json.dumps(signature))
    with running(tmp_path / "refused.log", DIRECTORY=model, WORKERS=1) as server:
        assert "the edges must ascend" in server.get("/v2/health/ready").json()["error"]
