"""Clients that send their bodies slowly, or not at all, beside regular requests and probes."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import requests

from infra.local.free_ports import free_port
from model_server.http import idle_connections
from tests.bench.http import slow_bodies
from tests.server.running import HOST, running, wait_until
from tests.server.training import Trained

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 75\r\n\r\n{"
linux = pytest.mark.skipif(not idle_connections.SUPPORTED, reason="needs TCP_INFO of Linux")


def slow_client(port: int) -> socket.socket:
    client = socket.create_connection((HOST, port), timeout=10)
    client.sendall(HEAD)
    return client


@linux
def test_score_two_hundred_slow_bodies_fail_no_request_and_no_probe(iris: Trained, tmp_path: Path) -> None:
    """Run the load of `tests.bench.http.slow_bodies` for some seconds, with a deadline within them."""
    health = free_port()
    settings = {"DIRECTORY": iris.folder, "HEALTH_PORT": health, "BODY_SECONDS": 4, "WORKERS": 2}
    with running(tmp_path / "log", **settings) as server:
        outcome = slow_bodies.run(server.port, health, seconds=8)
    assert outcome.failures == {}
    assert outcome.requests["200"] > 100
    assert outcome.probes["200"] > 10
    assert outcome.reconnects >= slow_bodies.SLOW_CLIENTS


@linux
def test_score_more_slow_bodies_than_allowed_closes_the_slowest(iris: Trained, tmp_path: Path) -> None:
    with running(tmp_path / "log", DIRECTORY=iris.folder, MAX_BODIES=4, WORKERS=1) as server, ExitStack() as clients:
        slow = [clients.enter_context(slow_client(server.port)) for _ in range(4)]
        time.sleep(idle_connections.LEAST_SECONDS + 0.5)
        assert server.score(SETOSA).status_code == 200
        slow[0].settimeout(10)
        assert slow[0].recv(1) == b""
        slow[-1].sendall(b'"petal_length":1.4,"petal_width":0.2,"sepal_length":5.1,"sepal_width":3.5}'.ljust(74))
        assert slow[-1].recv(12) == b"HTTP/1.1 200"


@linux
def test_score_body_slower_than_deadline_is_closed_and_counted(iris: Trained, tmp_path: Path) -> None:
    with running(tmp_path / "log", DIRECTORY=iris.folder, BODY_SECONDS=1, WORKERS=1) as server:
        client = slow_client(server.port)
        sent = 0
        with suppress(OSError):  # connection reset, or broken pipe
            while sent < 40:  # the body has 74 more bytes
                client.sendall(b" ")
                sent += 1
                time.sleep(0.2)
        assert sent < 40
        client.close()
        wait_until(lambda: 'path="/score",status="408"' in server.get("/metrics").text, "it was not counted")


@linux
def test_score_request_after_pause_on_kept_connection_is_not_closed(iris: Trained, tmp_path: Path) -> None:
    settings = {"DIRECTORY": iris.folder, "BODY_SECONDS": 2, "WORKERS": 1}
    with running(tmp_path / "log", **settings) as server, requests.Session() as session:
        for _ in range(3):
            assert session.post(f"{server.url}/score", json=SETOSA, timeout=10).ok
            time.sleep(1.5)


def test_health_port_serves_health_and_metrics_alone(iris: Trained, tmp_path: Path) -> None:
    health = free_port()
    with running(tmp_path / "log", DIRECTORY=iris.folder, VERSION="7", HEALTH_PORT=health, WORKERS=1) as server:
        url = f"http://{HOST}:{health}"
        assert requests.get(f"{url}/v2/health/live", timeout=10).json() == {"live": True}
        assert requests.get(f"{url}/v2/health/ready", timeout=10).json() == server.get("/v2/health/ready").json()
        assert (
            requests.get(f"{url}/metrics", timeout=10).headers["Content-Type"].startswith("text/plain; version=0.0.4")
        )
        head = requests.head(f"{url}/v2/health/live", timeout=10)
        assert (head.status_code, head.content) == (200, b"")
        assert requests.get(f"{url}/", timeout=10).json()["code"] == "not_found"
        assert requests.post(f"{url}/score", json=SETOSA, timeout=10).status_code == 501


def test_health_port_without_model_is_not_ready(tmp_path: Path) -> None:
    health = free_port()
    with running(tmp_path / "log", HEALTH_PORT=health, WORKERS=1):
        assert requests.get(f"http://{HOST}:{health}/v2/health/ready", timeout=10).status_code == 503
