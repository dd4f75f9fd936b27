"""The program that takes the pods of dead nodes out of their Services."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest
from mlplatform.failover.dead_nodes import DeadNodes
from mlplatform.failover.probe import responding_hosts
from mlplatform.failover.watch import ROUNDS, NodeObserver, PodReadiness

ALL = {"one": True, "two": True, "three": True}


def silent(*names: str) -> dict[str, bool]:
    return ALL | dict.fromkeys(names, False)


def test_dead_nodes_has_a_node_after_the_last_silent_round_only() -> None:
    nodes = DeadNodes(3)
    for responded in (ALL, silent("one"), silent("one"), ALL, silent("one"), silent("one")):
        nodes.observe(responded)
        assert nodes.names == set()
    nodes.observe(silent("one"))
    assert nodes.names == {"one"}
    nodes.observe(ALL)
    assert nodes.names == set()


def test_dead_nodes_counts_no_round_in_which_most_nodes_are_silent() -> None:
    nodes = DeadNodes(1)
    nodes.observe(ALL)
    nodes.observe(silent("one", "two"))
    assert nodes.names == set()
    nodes.observe(silent("one"))
    nodes.observe(silent("one", "two"))
    assert nodes.names == {"one", "two"}, "one of the two nodes that remain"


@pytest.mark.parametrize("responded", [{"one": False, "two": True}, {"one": False}], ids=["never responded", "alone"])
def test_dead_nodes_has_no_node_without_a_comparison(responded: dict[str, bool]) -> None:
    nodes = DeadNodes(1)
    for _ in range(3):
        nodes.observe(responded)
    assert nodes.names == set()


def test_dead_nodes_forgets_a_node_that_leaves() -> None:
    nodes = DeadNodes(1)
    nodes.observe(ALL)
    nodes.observe(silent("one"))
    nodes.observe({"two": True, "three": True})
    assert nodes.names == set()


@pytest.fixture
def hosts() -> Iterator[tuple[int, dict[str, str]]]:
    """Yield a port, and addresses that accept, refuse and ignore connections to it."""
    with ExitStack() as stack:
        accepts = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = accepts.getsockname()[1]
        ignores = stack.enter_context(socket.create_server(("127.0.0.3", port), backlog=0))
        # A full queue of connections makes the kernel drop further SYNs.
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(ignores.getsockname())
        yield port, {"accepts": "127.0.0.1", "refuses": "127.0.0.2", "ignores": "127.0.0.3"}


def test_responding_hosts_accept_or_refuse_connections(hosts: tuple[int, dict[str, str]]) -> None:
    port, addresses = hosts
    assert responding_hosts(addresses.values(), port, 0.2) == {addresses["accepts"], addresses["refuses"]}


class Api(BaseHTTPRequestHandler):
    """A stand-in for the API server with two nodes and the pods of one."""

    fails = False
    patched: list[tuple[str, Any]]
    pods: list[Any]
    nodes: list[Any]

    def do_GET(self) -> None:
        assert self.headers["Authorization"] == "Bearer word"
        if self.fails:
            self._send(500, {"message": "etcdserver: request timed out"})
        elif self.path.startswith("/api/v1/nodes"):
            self._send(200, {"items": self.nodes})
        else:
            assert "fieldSelector=spec.nodeName%3Dignores" in self.path
            self._send(200, {"items": self.pods})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.patched.append((self.path, body))
        self._send(404 if "deleted" in self.path else 200, {})

    def _send(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def pod(name: str, ready: str) -> dict[str, Any]:
    conditions = [{"type": "Initialized", "status": "True"}, {"type": "Ready", "status": ready}]
    return {"metadata": {"name": name, "namespace": "models"}, "status": {"conditions": conditions}}


@pytest.fixture
def api() -> Iterator[tuple[type[Api], PodReadiness]]:
    class Server(Api):
        patched: list[tuple[str, Any]] = []  # noqa: RUF012
        pods = [pod("deleted", "True"), pod("serves", "True"), pod("starts", "False")]  # noqa: RUF012

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.serve_forever, args=(0.01,)).start()
        port = server.server_address[1]
        yield Server, PodReadiness(lambda: HTTPConnection("127.0.0.1", port, timeout=5), lambda: "word")
        server.shutdown()


def test_observer_revokes_the_readiness_of_ready_pods_of_a_silent_node_once(
    api: tuple[type[Api], PodReadiness],
    hosts: tuple[int, dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server, readiness = api
    port, addresses = hosts
    monkeypatch.setattr("mlplatform.failover.watch.ROUND_SECONDS", 0.02)
    # At first, both nodes respond.
    server.nodes = [_node("accepts", addresses["accepts"]), _node("ignores", addresses["refuses"]), _node("own", "x")]
    observer = NodeObserver(readiness, "own", port)
    observer.observe()
    server.nodes[1] = _node("ignores", addresses["ignores"])
    observer._refresh_at = 0.0
    for _ in range(ROUNDS - 1):
        observer.observe()
    assert server.patched == []
    server.fails = True
    observer.observe()
    observer.observe()
    server.fails = False
    for _ in range(3):
        observer.observe()
    server.nodes[1] = _node("ignores", addresses["refuses"])
    observer._refresh_at = 0.0
    observer.observe()
    assert [path for path, _ in server.patched] == [
        f"/api/v1/namespaces/models/pods/{name}/status" for name in ("deleted", "serves")
    ]
    (condition,) = server.patched[1][1]["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "False")
    fault, dead, again = capsys.readouterr().out.splitlines()
    assert "etcdserver: request timed out" in fault
    assert dead == "ignores does not respond: 2 of its pods are set to not ready"
    assert again == "ignores responds again"


def _node(name: str, address: str) -> dict[str, Any]:
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}]
    return {"metadata": {"name": name}, "status": {"addresses": addresses}}
