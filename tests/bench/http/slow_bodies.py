"""A load of slow clients beside regular ones: `python -m tests.bench.http.slow_bodies`, which takes a minute.

Half of the slow clients send one byte per second of a long body; the other half send nothing after the headers. Each
connects again when the server closes its connection.
"""

from __future__ import annotations

import http.client
import json
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from infra.local.free_ports import free_port
from infra.local.local_process import HOST
from tests.bench.forest import FEATURES, FLOWERS, train
from tests.bench.http.contenders import ours
from tests.bench.http.servers import running

SLOW_CLIENTS = 200
SECONDS = 60
REQUESTS_PER_SECOND = 200
CLIENTS = range(8)
TIMEOUT_SECONDS = 10
HEAD = b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
BODY = json.dumps(dict(zip(FEATURES, FLOWERS[0], strict=True)))


@dataclass
class Outcome:
    """Number of regular requests and probes by their result: a status, or the name of an error."""

    requests: Counter[str] = field(default_factory=Counter)
    probes: Counter[str] = field(default_factory=Counter)
    reconnects: int = 0

    @property
    def failures(self) -> Counter[str]:
        """Requests and probes with another result than 200."""
        return Counter({result: count for result, count in (self.requests + self.probes).items() if result != "200"})


def run(port: int, health_port: int, seconds: float, slow_clients: int = SLOW_CLIENTS) -> Outcome:
    """Load the server at `port` for this number of seconds; probe both ports every second."""
    outcome = Outcome()
    with _slow_clients(port, slow_clients, outcome):
        end = time.monotonic() + seconds
        threads = [
            *(threading.Thread(target=_post_regularly, args=(port, end, outcome.requests)) for _ in CLIENTS),
            *(threading.Thread(target=_probe, args=(probed, end, outcome.probes)) for probed in (port, health_port)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return outcome


@contextmanager
def _slow_clients(port: int, count: int, outcome: Outcome) -> Iterator[None]:
    stop = threading.Event()
    thread = threading.Thread(target=_send_slowly, args=(port, count, outcome, stop))
    thread.start()
    time.sleep(1)  # until all are connected
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _send_slowly(port: int, count: int, outcome: Outcome, stop: threading.Event) -> None:
    with selectors.DefaultSelector() as closed_by_server:

        def connect(*, is_silent: bool) -> None:
            connection = socket.create_connection((HOST, port), timeout=TIMEOUT_SECONDS)
            connection.sendall(HEAD)
            closed_by_server.register(connection, selectors.EVENT_READ, is_silent)

        for number in range(count):
            connect(is_silent=bool(number % 2))
        while not stop.wait(1):
            for key, _ in closed_by_server.select(0):
                closed_by_server.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                outcome.reconnects += 1
                connect(is_silent=key.data)
            for key in list(closed_by_server.get_map().values()):
                if not key.data:
                    _send_byte(key.fileobj)
        for key in list(closed_by_server.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]


def _send_byte(connection: object) -> None:
    assert isinstance(connection, socket.socket)
    try:
        connection.sendall(b" ")
    except OSError:
        return  # the selector reports the closed connection


def _post_regularly(port: int, end: float, results: Counter[str]) -> None:
    pause = len(CLIENTS) / REQUESTS_PER_SECOND
    due = time.monotonic()
    connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
    while time.monotonic() < end:
        results[_result(connection, "POST", "/score", BODY)] += 1
        due += pause
        time.sleep(max(0, due - time.monotonic()))
    connection.close()


def _probe(port: int, end: float, results: Counter[str]) -> None:
    """Request health and metrics, each on a new connection, as kubelet and Prometheus do."""
    while time.monotonic() < end:
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics"):
            connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_SECONDS)
            results[_result(connection, "GET", path, None)] += 1
            connection.close()
        time.sleep(1)


def _result(connection: http.client.HTTPConnection, method: str, path: str, body: str | None) -> str:
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        response = connection.getresponse()
        response.read()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return type(error).__name__
    return str(response.status)


def main() -> int:
    """Run the load against a new server and return 1 if a request or a probe failed."""
    with tempfile.TemporaryDirectory() as name:
        server, health_port = ours(train(Path(name)).directory), free_port()
        environment = {**server.environment, "MODEL_SERVER_HEALTH_PORT": str(health_port)}
        server = replace(server, environment=environment)
        with running(server, Path(name)):
            outcome = run(server.port, health_port, SECONDS)
    print(f"requests {dict(outcome.requests)}, probes {dict(outcome.probes)}, closed {outcome.reconnects} connections")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
