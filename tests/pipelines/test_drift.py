"""Drift: what training leaves of its data, the index, and the pipeline that asks a server or Prometheus."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from tests.pipelines.conftest import IRIS, Run, run
from tests.server.running import Server, running, wait_until
from tests.stand_ins import Answering, answering
from workloads.ml import drift, registry, serving_counts
from workloads.ml.errors import StepError

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(("rows", "count"), [(10, 2), (59, 2), (60, 3), (120, 6), (200, 10), (5000, 10)])
def test_there_are_ten_ranges_or_fewer_where_there_are_few_rows(rows: int, count: int) -> None:
    found = drift.ranges(RANDOM.normal(size=rows).astype(np.float32))
    assert len(found["shares"]) == count
    assert sum(found["shares"]) == pytest.approx(1, abs=1e-5)
    assert found["shares"] == pytest.approx([1 / count] * count, abs=1 / rows + 1e-6)


def test_equal_values_are_in_one_range() -> None:
    found = drift.ranges(np.array([0] * 900 + [7] * 100, dtype=np.float32))
    assert found == {"edges": [0.0], "shares": [0.9, 0.1]}
    assert drift.ranges(np.full(1000, 3, dtype=np.float32)) == {"edges": [3.0], "shares": [1.0, 0.0]}


def test_the_edges_are_numbers_as_a_person_wrote_them() -> None:
    tenths = RANDOM.integers(10, 70, size=1000).astype(np.float32) / 10
    assert all(edge == round(edge, 1) for edge in drift.ranges(tenths)["edges"])


def test_the_index_is_that_of_the_textbook() -> None:
    # (0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5)
    assert drift.stability_index([0.5, 0.5], np.array([20.0, 80.0])) == pytest.approx(0.4158883)
    assert drift.stability_index([0.5, 0.5], np.array([7.0, 7.0])) == 0
    assert np.isfinite(drift.stability_index([1.0, 0.0], np.array([0.0, 9.0])))


@pytest.mark.parametrize("rows", [250, 2000])
def test_more_of_the_same_stays_below_the_limit_and_a_shift_does_not(rows: int) -> None:
    trained = drift.ranges(RANDOM.normal(size=5000).astype(np.float32))

    def index(values: Any) -> float:
        places = np.searchsorted(trained["edges"], values)
        return drift.stability_index(trained["shares"], np.bincount(places, minlength=10).astype(float))

    assert index(RANDOM.normal(size=rows)) < 0.1
    assert index(RANDOM.normal(0.7, size=rows)) > drift.DRIFTED
    assert index(RANDOM.normal(scale=2, size=rows)) > drift.DRIFTED


FEATURES = [{"name": "old"}, {"name": "new", "ranges": {"edges": [1.0], "shares": [0.5, 0.5]}}]


@pytest.mark.parametrize(
    ("features", "counts", "said"),
    [
        (FEATURES[:1], {}, "does not say what its training data were like"),
        (FEATURES, {}, "0 rows were served, too few to tell; it takes 500"),
        (FEATURES, {"new": {"1": 300.0}}, "300 rows were served, too few"),
        (FEATURES, {"new": {"1": 300.0, "inf": 300.0}}, "nothing drifted: the largest index is 0, of new and 600 rows"),
        (FEATURES, {"new": {"1": 600.0}}, "new (4.6) drifted: an index above 0.2, of 600 rows"),
    ],
)
def test_a_sentence_tells_what_was_found_or_why_nothing_was(features: Any, counts: Any, said: str) -> None:
    assert said in drift.told(features, *drift.measured(features, counts))


@pytest.fixture(scope="module")
def version(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The registered version of a model `flowers`, trained on Iris."""
    ended = run(
        tmp_path_factory.mktemp("trained") / "run",
        "iris-external",
        tracking_url=mlflow_url,
        data_url=IRIS.as_uri(),
        baseline=0.5,
        model_name="flowers",
    )
    assert ended.result["state"] == "SUCCEEDED", ended.log
    return str(ended.outputs["version"])


@pytest.fixture
def server(mlflow_url: str, version: str, tmp_path: Path) -> Iterator[Server]:
    settings = {"REGISTRY": mlflow_url, "MODEL": "flowers", "VERSION": version, "CACHE": tmp_path / "cache"}
    with running(tmp_path / "server.log", **settings) as started:
        wait_until(lambda: started.get("/v2/health/ready").ok, "there is no model")
        yield started


def check(folder: Path, mlflow_url: str, version: str, **where: Any) -> Run:
    ended = run(
        folder / "run", "drift-check", tracking_url=mlflow_url, model_name="flowers", model_version=version, **where
    )
    assert ended.result["state"] == "SUCCEEDED", ended.log
    return ended


@pytest.mark.parametrize("inches", [False, True])
def test_the_pipeline_finds_in_a_servers_own_counts_what_drifted(
    server: Server, mlflow_url: str, version: str, tmp_path: Path, inches: bool
) -> None:
    header, *lines = IRIS.read_text().splitlines()
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    rows = [dict(zip(names, map(float, line.split(",")), strict=False)) for line in lines]
    assert len(header.split(",")) == 5
    if inches:
        rows = [row | {"petal_width": row["petal_width"] / 2.54} for row in rows]
    for _ in range(4):
        assert server.score(rows).ok

    def counted() -> float:
        return sum(serving_counts.read("", server.url, "flowers", version, 1).get("petal_width", {}).values())

    wait_until(lambda: counted() == 600, "they are not counted")
    ended = check(tmp_path, mlflow_url, version, server_url=server.url)
    metrics = ended.artifact("measure-drift", "metrics")["metadata"]
    assert metrics["rows"] == 600
    assert (ended.outputs["measured"], ended.outputs["drifted"]) == (True, inches)
    assert (metrics["psi"] > drift.DRIFTED) == inches
    assert max(value for name, value in metrics.items() if name not in ("rows", "psi", "psi_petal_width")) < 0.1
    assert ("petal_width" in ended.outputs["finding"] and "drifted: " in ended.outputs["finding"]) == inches


def test_a_server_that_nobody_has_asked_yet_is_no_fault(
    server: Server, mlflow_url: str, version: str, tmp_path: Path
) -> None:
    ended = check(tmp_path, mlflow_url, version, server_url=server.url)
    assert (ended.outputs["measured"], ended.outputs["drifted"]) == (False, False)
    assert "0 rows were served" in ended.outputs["finding"]
    assert ended.artifact("measure-drift", "metrics")["metadata"] == {}


@pytest.fixture
def prometheus() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Answers like Prometheus with the counts of a feature in a unit of its own; keeps what it was asked."""
    asked: list[dict[str, Any]] = []
    result = [
        {"metric": {"feature": "petal_width", "upto": upto}, "value": [0, count]}
        for upto, count in (("0.2", "900.5"), ("inf", "99.5"))
    ]

    class Handler(Answering):
        def do_GET(self) -> None:
            login = b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            asked.append({"login": login, **parse_qs(urlsplit(self.path).query)})
            status = 200 if login == "prometheus:word" else 401
            self.answer(status, {"status": "success", "data": {"resultType": "vector", "result": result}})

    with answering(Handler) as url:
        yield url, asked


def test_the_pipeline_asks_prometheus_for_its_time_with_the_password(
    prometheus: tuple[str, list[dict[str, Any]]],
    mlflow_url: str,
    version: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, asked = prometheus
    monkeypatch.setenv("PROMETHEUS_USERNAME", "prometheus")
    monkeypatch.setenv("PROMETHEUS_PASSWORD", "word")
    ended = check(tmp_path, mlflow_url, version, prometheus_url=url, hours=6.0)
    assert ended.outputs["drifted"]
    assert ended.artifact("measure-drift", "metrics")["metadata"]["rows"] == 1000
    (query,) = asked[0]["query"]
    assert f'model_server_input_values_total{{model="flowers",version="{version}"}}[21600s]' in query
    assert "word" not in ended.log


def test_a_prometheus_that_refuses_or_is_not_there_is_told(
    prometheus: tuple[str, list[dict[str, Any]]],
) -> None:
    with pytest.raises(StepError, match="what was served cannot be read: 401"):
        serving_counts.read(prometheus[0], "", "flowers", "1", 1)
    with pytest.raises(StepError, match="cannot be read"):
        serving_counts.read("", "http://127.0.0.1:1", "flowers", "1", 1)
    with pytest.raises(StepError, match="prometheus_url, server_url: both are empty"):
        serving_counts.read("", "", "flowers", "1", 1)


def test_a_model_from_before_is_told_from_one_that_has_not_drifted(version: str, mlflow_url: str) -> None:
    features: list[Any] = [dict(each) for each in registry.fetch(mlflow_url, "flowers", version).signature["features"]]
    for feature in features:
        del feature["ranges"]
    assert drift.measured(features, {"petal_width": {"inf": 900.0}}) == ({}, 0)
