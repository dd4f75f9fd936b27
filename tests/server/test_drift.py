"""What a model is asked about, counted by the ranges of its training data."""

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
from workloads.ml import drift, serving_counts

ROWS = 900


@pytest.fixture(scope="module")
def described(iris: Trained, folder: Path) -> Path:
    """The Iris forest with the ranges of what it was trained on."""
    return with_ranges(iris, shutil.copytree(iris.folder, folder / "described"))


def with_ranges(trained: Trained, folder: Path) -> Path:
    signature = json.loads((folder / "signature.json").read_text())
    for feature, column in zip(signature["features"], trained.data.T, strict=True):
        feature["ranges"] = drift.compute_ranges(column)
    (folder / "signature.json").write_text(json.dumps(signature))
    return folder


@pytest.fixture
def watched(described: Path, tmp_path: Path) -> Iterator[Server]:
    """A server that nobody else asks anything."""
    with running(tmp_path / "watched.log", DIRECTORY=described, VERSION="7", WORKERS=2) as server:
        yield server


def ask(server: Server, iris: Trained, rows: Any) -> None:
    """Ask for the rows one by one, in small requests and in one large one, a third each."""
    objects = [dict(zip(iris.features, map(float, row), strict=True)) for row in rows]
    singles, small, large = objects[0::3], objects[1::3], objects[2::3]
    for row in singles:
        assert server.score(row).ok
    for start in range(0, len(small), 10):
        assert server.score(small[start : start + 10]).ok
    assert server.score(large).ok


def counts(server: Server) -> drift.Counts:
    return serving_counts.read("", server.url, "iris", "7", hours=1)


def indices(server: Server, described: Path, rows: int) -> dict[str, float]:
    """The index of each feature once so many rows are counted."""
    wait_until(lambda: sum(counts(server)["petal_width"].values()) >= rows, "they are not counted")
    features = json.loads((described / "signature.json").read_text())["features"]
    found, counted = drift.measure(features, counts(server))
    assert counted == rows
    return found


def test_what_is_like_the_training_data_has_not_drifted(watched: Server, iris: Trained, described: Path) -> None:
    ask(watched, iris, np.random.default_rng(0).choice(iris.data, ROWS))
    found = indices(watched, described, ROWS)
    assert set(found) == set(iris.features)
    assert max(found.values()) < 0.1


def test_a_feature_in_another_unit_has_drifted_and_the_others_have_not(
    watched: Server, iris: Trained, described: Path
) -> None:
    rows = np.random.default_rng(0).choice(iris.data, ROWS)
    rows[:, 2] /= 2.54
    ask(watched, iris, rows)
    found = indices(watched, described, ROWS)
    assert found.pop("petal_length") > drift.DRIFTED
    assert max(found.values()) < 0.1


def test_a_value_on_an_edge_belongs_to_the_range_below(watched: Server, iris: Trained, described: Path) -> None:
    (feature, *_) = json.loads((described / "signature.json").read_text())["features"]
    edges = feature["ranges"]["edges"]
    for edge in edges:
        assert watched.score(iris.rows()[0] | {"sepal_length": edge}).ok
    wait_until(lambda: sum(counts(watched)["sepal_length"].values()) == len(edges), "they are not counted")
    expected = dict.fromkeys(drift.range_labels(edges), 1.0) | {drift.LAST: 0.0}
    assert counts(watched)["sepal_length"] == expected


def test_the_shares_of_the_training_data_are_told_beside(watched: Server, described: Path) -> None:
    (feature, *_) = json.loads((described / "signature.json").read_text())["features"]
    pattern = r'model_server_training_share\{feature="sepal_length",.*upto="(.*)",version="7"\} (.*)'
    told = {upto: float(share) for upto, share in re.findall(pattern, watched.get("/metrics").text)}
    names, shares = drift.range_labels(feature["ranges"]["edges"]), feature["ranges"]["shares"]
    assert told == dict(zip(names, shares, strict=True))


def test_a_model_whose_training_data_nobody_described_is_served_as_ever(server: Server, iris: Trained) -> None:
    assert server.score(iris.rows()[0]).ok
    assert "model_server_input_values_total" not in server.get("/metrics").text


def test_counting_goes_on_after_a_fault(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Keeper:
        faults: ClassVar[list[BaseException]] = [OSError("no space left"), KeyboardInterrupt()]

        def count(self) -> None:
            raise self.faults.pop(0)

    monkeypatch.setattr(worker, "COUNT_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        worker._count(Keeper())  # type: ignore[arg-type]
    assert "requests are not counted: no space left" in caplog.text


@pytest.mark.parametrize(
    "ranges", [{"edges": [2.0, 1.0], "shares": [0.5, 0.2, 0.3]}, {"edges": [1.0], "shares": [1.0]}]
)
def test_ranges_that_make_no_sense_are_refused(described: Path, tmp_path: Path, ranges: dict[str, list[float]]) -> None:
    model = shutil.copytree(described, tmp_path / "model")
    signature = json.loads((model / "signature.json").read_text())
    signature["features"][0]["ranges"] = ranges
    (model / "signature.json").write_text(json.dumps(signature))
    with running(tmp_path / "refused.log", DIRECTORY=model, WORKERS=1) as server:
        assert "the edges must ascend" in server.get("/v2/health/ready").json()["error"]
