"""Starts the real server as its users do, with `python -m model_server`, and stops it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import requests

from infra.local.free_ports import free_port

HOST = "127.0.0.1"
START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A server process, its port and its log file."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def get(self, path: str) -> requests.Response:
        return requests.get(self.url + path, timeout=60)

    def score(self, content: Any) -> requests.Response:
        return requests.post(self.url + "/score", json=content, timeout=60)

    def post(self, body: bytes, path: str = "/score", content_type: str = "application/json") -> requests.Response:
        return requests.post(self.url + path, body, headers={"Content-Type": content_type}, timeout=60)

    def post_json(self, path: str, content: Any) -> Any:
        """Return the answer to a POST of JSON."""
        return requests.post(self.url + path, json=content, timeout=60).json()

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment with these settings of the server, and no others."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MODEL_SERVER_")}
    return kept | {f"MODEL_SERVER_{name}": str(value) for name, value in settings.items()}


@contextmanager
def running(log: Path, **settings: object) -> Iterator[Server]:
    """Start a server and wait for it; stop it in the end, and fail if it logged a stack trace."""
    port = free_port()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "model_server"],
            env=environment(PORT=port, **settings),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    server = Server(process, port, log)
    try:
        wait_until(lambda: _responds(server), f"the server did not respond:\n{log.read_text()}", START_SECONDS)
        yield server
    finally:
        process.terminate()
        process.wait(60)
    text = log.read_text()
    assert "Traceback" not in text, f"the server logged a stack trace:\n{text}"


def wait_until(condition: Callable[[], object], failure: str, seconds: float = 120) -> None:
    """Wait until `condition()` is true; fail with the text `failure` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, failure
        time.sleep(0.05)


def _responds(server: Server) -> bool:
    assert server.process.poll() is None, f"the server ended: {server.log.read_text()}"
    try:
        return server.get("/v2/health/live").ok
    except requests.ConnectionError:
        return False
