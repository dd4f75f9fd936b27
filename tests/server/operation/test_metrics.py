"""GET /metrics: sums over all workers, in each worker's response."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.server.running import Server, running, wait_until
from tests.server.training import Trained

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
VIRGINICA = {"petal_length": 6.0, "petal_width": 2.5, "sepal_length": 6.3, "sepal_width": 3.3}


@pytest.fixture(scope="module")
def counted(iris: Trained, folder: Path) -> Iterator[Server]:
    """Start a server that no other test uses."""
    with running(folder / "counted.log", DIRECTORY=iris.folder, VERSION="7", WORKERS=2) as server:
        yield server


def sample(server: Server, name: str, **labels: str) -> float:
    """Return the value of a series; 0 if it does not exist."""
    response = server.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(response.text)
    found = [
        s.value for family in families for s in family.samples if s.name == name and labels.items() <= s.labels.items()
    ]
    return sum(found)


def expect(server: Server, value: float, name: str, **labels: str) -> None:
    """Assert the value of a series; a worker counts up to a second late."""
    wait_until(lambda: sample(server, name, **labels) >= value, f"{name} {labels} is less than {value}")
    assert sample(server, name, **labels) == value


def test_counters_two_workers_sum_requests_latencies_and_predictions(counted: Server) -> None:
    for _ in range(20):  # each on its own connection, so both workers get some
        assert counted.score(SETOSA).ok
        assert counted.score([VIRGINICA, VIRGINICA]).ok
        assert counted.post(b"{").status_code == 400
    expect(counted, 60, "model_server_requests_total", path="/score", method="POST")
    expect(counted, 40, "model_server_requests_total", path="/score", method="POST", status="200")
    expect(counted, 20, "model_server_requests_total", path="/score", method="POST", status="400")
    assert sample(counted, "model_server_request_seconds_count", path="/score") == 60
    assert sample(counted, "model_server_request_seconds_bucket", path="/score", le="+Inf") == 60
    assert 0 < sample(counted, "model_server_request_seconds_sum", path="/score") < 60
    predictions = "model_server_predictions_total"
    assert sample(counted, predictions, **{"class": "setosa", "version": "7"}) == 20
    assert sample(counted, predictions, **{"class": "virginica", "version": "7"}) == 40


def test_model_info_two_workers_is_one(counted: Server, iris: Trained) -> None:
    assert sample(counted, "model_server_model_info", model="iris", version="7", sha256=iris.sha256) == 1


def test_counters_unknown_paths_and_methods_share_one_series(counted: Server) -> None:
    for number in range(5):
        counted.get(f"/nothing/{number}")
        requests.request(f"BREW{number}", f"{counted.url}/nothing", timeout=10)
        counted.get(f"/v2/models/model{number}")
    expect(counted, 5, "model_server_requests_total", path="other", method="GET", status="404")
    expect(counted, 5, "model_server_requests_total", path="other", method="other", status="404")
    expect(counted, 5, "model_server_requests_total", path="/v2/models/<name>", status="404")
    assert "BREW" not in counted.get("/metrics").text


def test_counters_killed_worker_keep_their_values(counted: Server) -> None:
    before = sample(counted, "model_server_predictions_total")
    killed = counted.workers()[0]
    killed.kill()
    killed.wait(10)
    wait_until(lambda: len(counted.workers()) == 2, "no worker replaced the killed one")
    wait_until(lambda: counted.log.read_text().count("serving iris") == 3, "the new worker serves nothing")
    wait_until(lambda: counted.score(SETOSA).ok, "the server does not respond")
    expect(counted, before + 1, "model_server_predictions_total")
    assert sample(counted, "model_server_model_info", version="7") == 1
