"""Registries that answer, refuse, are busy or cannot be reached, and what a build says of them."""

from __future__ import annotations

import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from airgap.bundle import __main__
from airgap.bundle.builders import upstream_image
from airgap.bundle.builders.upstream_image import is_reachable
from airgap.bundle.registry.certificates import issue_authority, issue_server
from airgap.bundle.source_table import load_sources
from infra.local.free_ports import free_port
from tests.door.processes import HOST, unreachable_port
from tools.bootstrap.console import SetupError

TOKEN = {"WWW-Authenticate": 'Bearer realm="registry"'}
SILENCE = 0


class Registry(ThreadingHTTPServer):
    """A server with TLS that gives each of the `answers` once, and the last one again."""

    def __init__(self, folder: Path) -> None:
        super().__init__((HOST, 0), RegistryHandler)
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.requests = 0
        self.end = threading.Event()
        authority = issue_authority("registries")
        issued = issue_server(authority, "registry", [HOST])
        (folder / "server.pem").write_bytes(issued.certificate + issued.key)
        (folder / "ca.pem").write_bytes(authority.certificate)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)


class RegistryHandler(BaseHTTPRequestHandler):
    """The answers of a Registry."""

    server: Registry

    def do_GET(self) -> None:
        status, headers = self.server.answers[min(self.server.requests, len(self.server.answers) - 1)]
        self.server.requests += 1
        if status == SILENCE:
            self.server.end.wait(60)
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_image, "PAUSE_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(urllib.request, "_opener", None)
    is_reachable.cache_clear()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with Registry(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.end.set()
        server.shutdown()


def address(registry: Registry) -> str:
    return f"{HOST}:{registry.server_address[1]}"


@pytest.mark.parametrize(
    ("answers", "reachable"),
    [
        ([(200, {})], True),
        ([(401, TOKEN)], True),
        ([(401, {})], False),
        ([(403, {})], False),
        ([(503, {}), (429, {}), (401, TOKEN)], True),
        ([(500, {}), (403, {})], False),
    ],
)
def test_answers_say_whether_a_registry_is_reachable(
    registry: Registry, answers: list[tuple[int, dict[str, str]]], reachable: bool
) -> None:
    registry.answers = answers
    assert is_reachable(address(registry)) is reachable
    assert registry.requests == len(answers)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_registry_that_stays_busy_or_broken_is_an_error(registry: Registry, status: int) -> None:
    registry.answers = [(status, {})]
    with pytest.raises(SetupError, match=f"{address(registry)} answers {status}, 3 times: .*--images build"):
        is_reachable(address(registry))


def test_silent_registry_is_an_error(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_image, "PROBE_SECONDS", 2)
    monkeypatch.setattr(upstream_image, "PROBES", 2)
    registry.answers = [(SILENCE, {})]
    with pytest.raises(SetupError, match="takes a request and does not answer within 2 s, 2 times"):
        is_reachable(address(registry))


def test_registry_without_a_way_to_it_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_image, "PROBE_SECONDS", 0.2)
    assert not is_reachable("registry.invalid")
    assert not is_reachable(f"{HOST}:{free_port()}")
    with unreachable_port() as port:
        assert not is_reachable(f"{HOST}:{port}")


def test_refusal_of_a_proxy_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as proxy:
        threading.Thread(target=refuse, args=(proxy,), daemon=True).start()
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("https_proxy", f"http://{HOST}:{proxy.getsockname()[1]}")
        assert not is_reachable("registry.invalid")


def refuse(proxy: socket.socket) -> None:
    connection, _ = proxy.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


def test_last_line_of_a_build_lists_the_images_it_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "sources.toml"
    table.write_text('build_date = 2026-01-01T00:00:00Z\n[upstream]\nimages = ["registry.invalid/a/b:1.0"]\n')
    monkeypatch.setattr(__main__, "load_sources", lambda: load_sources(table, tmp_path))
    monkeypatch.setattr("sys.argv", ["bundle", "build"])
    monkeypatch.setenv("MLPLATFORM_CACHE", str(tmp_path / "cache"))
    assert __main__.main() == 0
    last = capsys.readouterr().err.splitlines()[-1]
    assert "registry.invalid/a/b:1.0" in last
