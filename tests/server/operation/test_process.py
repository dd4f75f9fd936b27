"""The server process: settings, port and shutdown."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
import requests

from infra.local.free_ports import free_port
from model_server.__main__ import STOP_SECONDS
from model_server.http import idle_connections
from model_server.metrics_folder import PREFIX, SHARED_MEMORY
from model_server.settings import ServerSettings
from tests.server.running import HOST, Server, environment, running, wait_until
from tests.server.training import Trained

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


def run_to_exit(**settings: object) -> tuple[int, str]:
    """Return the exit code and the error output of a server that does not start."""
    command = [sys.executable, "-m", "model_server"]
    ended = subprocess.run(command, env=environment(**settings), capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stderr


def test_start_invalid_setting_exits_2_with_message() -> None:
    code, error = run_to_exit(PORT="abc", WORKERS=-1)
    assert code == 2
    assert "MODEL_SERVER_PORT='abc' cannot be used; allowed is an integer from 1 to 65535" in error
    assert "MODEL_SERVER_WORKERS='-1'" in error
    assert "Traceback" not in error


def test_start_port_in_use_exits_1_with_message(server: Server) -> None:
    code, error = run_to_exit(PORT=server.port)
    assert code == 1
    assert f"cannot listen on {HOST} port {server.port}" in error
    assert "MODEL_SERVER_PORT" in error
    assert "Address already in use" in error
    assert server.score(SETOSA).ok


def test_start_uncreatable_cache_exits_1_with_message(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    code, error = run_to_exit(PORT=free_port(), CACHE=tmp_path / "file" / "cache")
    assert code == 1
    assert str(tmp_path / "file") in error


def test_start_without_model_serves_all_but_predictions(empty: Server) -> None:
    ready = empty.get("/v2/health/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "no_model")
    assert "MODEL_SERVER_ALIAS" in ready.json()["error"]
    assert empty.score(SETOSA).json()["code"] == "no_model"
    for path in ("/", "/v2", "/v2/health/live", "/metrics", "/openapi.json"):
        assert empty.get(path).status_code == 200, path


def test_score_two_thousand_open_connections_returns_200(iris: Trained, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as kept:
        # As in most shells, the soft limit of open files is low.
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        kept.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        server = kept.enter_context(running(tmp_path / "log", DIRECTORY=iris.folder, WORKERS=1))
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2100), hard))
        for _ in range(2000):
            client = kept.enter_context(socket.create_connection((HOST, server.port), timeout=10))
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200")
        assert server.score(SETOSA).ok


@pytest.mark.skipif(not idle_connections.SUPPORTED, reason="needs TCP_INFO of Linux")
def test_idle_connections_within_request_are_closed(iris: Trained, tmp_path: Path) -> None:
    defaults = ServerSettings.from_environment({})
    with running(tmp_path / "log", DIRECTORY=iris.folder, WORKERS=1) as server, ExitStack() as kept:
        seconds = defaults.body_seconds + 10
        for _ in range(defaults.max_bodies):
            client = kept.enter_context(socket.create_connection((HOST, server.port), timeout=seconds))
            client.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            client.sendall(b"Content-Length: 75\r\n\r\n{")
        # A client that waits as long as these would be closed with them.
        time.sleep(idle_connections.SCAN_SECONDS + 1)
        assert requests.post(f"{server.url}/score", json=SETOSA, timeout=seconds).ok
        assert client.recv(1) == b""


def test_sigterm_ends_all_processes_and_removes_metrics_folder(iris: Trained, tmp_path: Path) -> None:
    settings = {"DIRECTORY": iris.folder, "CACHE": tmp_path / "cache"}
    parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else tmp_path / "cache"
    began = time.monotonic()
    with running(tmp_path / "log", **settings) as server:
        start_seconds = time.monotonic() - began
        processes = [psutil.Process(server.process.pid), *server.workers()]
        assert len(processes) == 3
        folders = list(parent.glob(f"{PREFIX}{server.process.pid}-*"))
        assert folders
        ended = time.monotonic()
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert time.monotonic() - ended < STOP_SECONDS + start_seconds
        assert [process for process in processes if process.is_running()] == []
    assert [folder for folder in folders if folder.exists()] == []


def test_sigint_during_request_completes_the_request(iris: Trained, tmp_path: Path) -> None:
    with running(tmp_path / "log", DIRECTORY=iris.folder, WORKERS=1) as server:

        def body() -> Iterator[bytes]:
            yield b"["
            time.sleep(0.3)
            server.process.send_signal(signal.SIGINT)
            time.sleep(0.5)
            yield b'{"petal_length":1.4,"petal_width":0.2,"sepal_length":5.1,"sepal_width":3.5}]'

        response = requests.post(
            f"{server.url}/score", body(), headers={"Content-Type": "application/json"}, timeout=10
        )
        assert response.json()["predictions"][0]["species"] == "setosa"
        assert server.process.wait(60) == 0


def test_sigkill_of_parent_ends_workers(iris: Trained, tmp_path: Path) -> None:
    settings = {"DIRECTORY": iris.folder, "CACHE": tmp_path / "cache"}
    with running(tmp_path / "log", **settings) as server:
        workers = server.workers()
        os.kill(server.process.pid, signal.SIGKILL)
        wait_until(lambda: not any(worker.is_running() for worker in workers), "workers stay")
        assert list((tmp_path / "cache").iterdir()) == []
