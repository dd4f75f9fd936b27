"""Drift: ranges of the training data, the index, and the pipeline that reads a server or Prometheus."""

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
from workloads.ml import drift, model_registry
from workloads.ml.errors import StepError
from workloads.ml.serving_counts import read_serving_counts


@pytest.fixture
def random() -> np.random.Generator:
    """Return a generator that gives each test the same numbers, whatever ran before."""
    return np.random.default_rng(0)


@pytest.mark.parametrize(("rows", "count"), [(10, 2), (59, 2), (60, 3), (120, 6), (200, 10), (5000, 10)])
def test_compute_ranges_has_ten_ranges_or_fewer_for_few_rows(
    random: np.random.Generator, rows: int, count: int
) -> None:
    found = drift.compute_ranges(random.normal(size=rows).astype(np.float32))
    assert len(found["shares"]) == count
    assert sum(found["shares"]) == pytest.approx(1, abs=1e-5)
    assert found["shares"] == pytest.approx([1 / count] * count, abs=1 / rows + 1e-6)


def test_compute_ranges_keeps_equal_values_together() -> None:
    found = drift.compute_ranges(np.array([0] * 900 + [7] * 100, dtype=np.float32))
    assert found == {"edges": [0.0], "shares": [0.9, 0.1]}
    assert drift.compute_ranges(np.full(1000, 3, dtype=np.float32)) == {"edges": [3.0], "shares": [1.0, 0.0]}


def test_compute_ranges_edges_have_short_decimals(random: np.random.Generator) -> None:
    tenths = random.integers(10, 70, size=1000).astype(np.float32) / 10
    assert all(edge == round(edge, 1) for edge in drift.compute_ranges(tenths)["edges"])


def test_compute_ranges_of_a_column_that_may_be_missing_has_shares_of_all_rows() -> None:
    column = np.array([0] * 700 + [7] * 50 + [np.nan] * 250, dtype=np.float32)
    found = drift.compute_ranges(column, may_miss=True)
    assert found == {"edges": [0.0], "shares": [0.7, 0.05], "missing": 0.25}
    assert drift.compute_ranges(column[:750], may_miss=True)["missing"] == 0


def test_stability_index_equals_textbook_value() -> None:
    # (0.2 - 0.5) ln(0.2 / 0.5) + (0.8 - 0.5) ln(0.8 / 0.5)
    assert drift.stability_index([0.5, 0.5], np.array([20.0, 80.0])) == pytest.approx(0.4158883)
    assert drift.stability_index([0.5, 0.5], np.array([7.0, 7.0])) == 0
    assert np.isfinite(drift.stability_index([1.0, 0.0], np.array([0.0, 9.0])))


@pytest.mark.parametrize("rows", [250, 2000])
def test_stability_index_exceeds_limit_only_after_a_shift(random: np.random.Generator, rows: int) -> None:
    trained = drift.compute_ranges(random.normal(size=5000).astype(np.float32))

    def index(values: Any) -> float:
        places = np.searchsorted(trained["edges"], values)
        return drift.stability_index(trained["shares"], np.bincount(places, minlength=10).astype(float))

    assert index(random.normal(size=rows)) < 0.1
    assert index(random.normal(0.7, size=rows)) > drift.DRIFTED
    assert index(random.normal(scale=2, size=rows)) > drift.DRIFTED


FEATURES = [{"name": "old"}, {"name": "new", "ranges": {"edges": [1.0], "shares": [0.5, 0.5]}}]
GAPS = [{"name": "gaps", "ranges": {"edges": [1.0], "shares": [0.25, 0.25], "missing": 0.5}}]


@pytest.mark.parametrize(
    ("features", "counts", "said"),
    [
        (FEATURES[:1], {}, "its signature does not describe the training data"),
        (FEATURES, {}, "0 rows were served, too few to measure drift; at least 500 are needed"),
        (FEATURES, {"new": {"1": 300.0}}, "300 rows were served, too few"),
        (FEATURES, {"new": {"1": 300.0, "inf": 300.0}}, "nothing drifted: the largest index is 0, of new and 600 rows"),
        (
            FEATURES,
            {"new": {"1": 300.0, "inf": 300.0, "missing": 900.0}},
            "nothing drifted: the largest index is 0, of new and 600 rows",
        ),
        (
            GAPS,
            {"gaps": {"1": 300.0, "inf": 300.0, "missing": 600.0}},
            "nothing drifted: the largest index is 0, of gaps and 1200 rows",
        ),
        (GAPS, {"gaps": {"missing": 600.0}}, "gaps (4.26) drifted: an index above 0.2, of 600 rows"),
        (FEATURES, {"new": {"1": 600.0}}, "new (4.6) drifted: an index above 0.2, of 600 rows"),
    ],
)
def test_describe_names_drifted_features_or_reason(features: Any, counts: Any, said: str) -> None:
    assert said in drift.describe_drift(features, *drift.measure(features, counts))


@pytest.fixture(scope="module")
def version(mlflow_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the registered version of a model `flowers`, trained on Iris."""
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
        wait_until(lambda: started.get("/v2/health/ready").ok, "the model is not loaded")
        yield started


def check(folder: Path, mlflow_url: str, version: str, **where: Any) -> Run:
    ended = run(
        folder / "run", "drift-check", tracking_url=mlflow_url, model_name="flowers", model_version=version, **where
    )
    assert ended.result["state"] == "SUCCEEDED", ended.log
    return ended


@pytest.mark.parametrize("inches", [False, True])
def test_drift_check_with_server_counts_finds_drifted_feature(
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
        return sum(read_serving_counts("", server.url, "flowers", version, 1).get("petal_width", {}).values())

    wait_until(lambda: counted() == 600, "the rows are not counted")
    ended = check(tmp_path, mlflow_url, version, server_url=server.url)
    metrics = ended.artifact("measure-drift", "metrics")["metadata"]
    assert metrics["rows"] == 600
    assert (ended.outputs["measured"], ended.outputs["drifted"]) == (True, inches)
    assert (metrics["psi"] > drift.DRIFTED) == inches
    assert max(value for name, value in metrics.items() if name not in ("rows", "psi", "psi_petal_width")) < 0.1
    assert ("petal_width" in ended.outputs["finding"] and "drifted: " in ended.outputs["finding"]) == inches


def test_drift_check_of_unused_server_succeeds(server: Server, mlflow_url: str, version: str, tmp_path: Path) -> None:
    ended = check(tmp_path, mlflow_url, version, server_url=server.url)
    assert (ended.outputs["measured"], ended.outputs["drifted"]) == (False, False)
    assert "0 rows were served" in ended.outputs["finding"]
    assert ended.artifact("measure-drift", "metrics")["metadata"] == {}


@pytest.fixture
def prometheus() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Run a stand-in for Prometheus with counts of one feature; yield its address and the list of its requests."""
    requests: list[dict[str, Any]] = []
    result = [
        {"metric": {"feature": "petal_width", "upto": upto}, "value": [0, count]}
        for upto, count in (("0.2", "900.5"), ("inf", "99.5"))
    ]

    class Handler(Answering):
        def do_GET(self) -> None:
            login = b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
            requests.append({"login": login, **parse_qs(urlsplit(self.path).query)})
            status = 200 if login == "prometheus:word" else 401
            self.answer(status, {"status": "success", "data": {"resultType": "vector", "result": result}})

    with answering(Handler) as url:
        yield url, requests


def test_drift_check_with_prometheus_queries_time_range_with_login(
    prometheus: tuple[str, list[dict[str, Any]]],
    mlflow_url: str,
    version: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, requests = prometheus
    monkeypatch.setenv("PROMETHEUS_USERNAME", "prometheus")
    monkeypatch.setenv("PROMETHEUS_PASSWORD", "word")
    ended = check(tmp_path, mlflow_url, version, prometheus_url=url, hours=6.0)
    assert ended.outputs["drifted"]
    assert ended.artifact("measure-drift", "metrics")["metadata"]["rows"] == 1000
    (query,) = requests[0]["query"]
    assert f'model_server_input_values_total{{model="flowers",version="{version}"}}[21600s]' in query
    assert "word" not in ended.log


def test_read_counts_failed_request_raises_error(
    prometheus: tuple[str, list[dict[str, Any]]],
) -> None:
    with pytest.raises(StepError, match="the counts of served rows cannot be read: 401"):
        read_serving_counts(prometheus[0], "", "flowers", "1", 1)
    with pytest.raises(StepError, match="cannot be read"):
        read_serving_counts("", "http://127.0.0.1:1", "flowers", "1", 1)
    with pytest.raises(StepError, match="prometheus_url, server_url: both are empty"):
        read_serving_counts("", "", "flowers", "1", 1)


def test_measure_signature_without_ranges_returns_no_index(version: str, mlflow_url: str) -> None:
    features: list[Any] = [
        dict(each) for each in model_registry.fetch(mlflow_url, "flowers", version).signature["features"]
    ]
    for feature in features:
        del feature["ranges"]
    assert drift.measure(features, {"petal_width": {"inf": 900.0}}) == ({}, 0)
