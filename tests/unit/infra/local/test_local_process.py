"""Updates of a service that runs as a process of this computer."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from infra.dynamic_provider import UserError
from infra.local import local_process
from infra.local.free_ports import free_port
from infra.local.local_process import HOST, _ProcessProvider

SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(os.environ["STATUS"]))
        self.end_headers()
        self.wfile.write(os.environ["VERSION"].encode())

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Yield the state of a running process that responds with the text `old`."""
    port = free_port()
    provider = _ProcessProvider()
    props: dict[str, Any] = {
        "name": "some-server",
        "command": [sys.executable, "-c", SERVER, str(port)],
        "environment": {"STATUS": "200", "VERSION": "old"},
        "host": HOST,
        "port": port,
        "setting": "some:port",
        "revision": "old",
        "ready_path": "/",
        "data": str(tmp_path / "data"),
        "retain": False,
    }
    state = provider.create(props).outs or {}
    yield state
    provider.delete("some-server", state)


def response(state: dict[str, Any]) -> str:
    return requests.get(state["url"], timeout=60).text


def test_update_restarts_the_process_with_its_new_inputs(running: dict[str, Any]) -> None:
    news = running | {"environment": {"STATUS": "200", "VERSION": "new"}}
    assert response(_ProcessProvider().update("some-server", running, news).outs or {}) == "new"
    assert Path(running["data"]).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"command": [sys.executable, "-c", "raise SystemExit(3)"]}, "ended with code 3 at its start"),
        ({"environment": {"STATUS": "503", "VERSION": "new"}}, "was not ready within 8 s"),
    ],
    ids=["ends", "not-ready"],
)
def test_update_to_a_process_that_is_not_ready_fails_and_starts_the_old_one_again(
    running: dict[str, Any], change: dict[str, Any], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "environment" in change:
        monkeypatch.setattr(local_process, "START_SECONDS", 8)
    with pytest.raises(UserError, match=reason) as failure:
        _ProcessProvider().update("some-server", running, running | change)
    assert str(failure.value).endswith("\nsome-server runs again with its old settings.")
    assert response(running) == "old"
    assert _ProcessProvider().read("some-server", running).id == "some-server"


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"STATUS": "200", "VERSION": "new"}},
        {"command": [sys.executable, "-c", f"{SERVER}# new", "PORT"]},
        {"revision": "new"},
    ],
    ids=["environment", "command", "revision"],
)
def test_read_after_a_killed_update_reports_the_process_with_other_inputs_as_deleted(
    running: dict[str, Any], change: dict[str, Any]
) -> None:
    """The state has the old inputs then, and `diff` no change if the settings are the old ones again."""
    if "command" in change:
        change["command"][-1] = str(running["port"])
    provider = _ProcessProvider()
    provider.update("some-server", running, running | change)
    assert not provider.read("some-server", running).id
    assert response(provider.create(running).outs or {}) == "old"
    assert provider.read("some-server", running).id == "some-server"


def test_read_of_a_process_that_an_older_program_recorded_reports_it(running: dict[str, Any]) -> None:
    record = Path(running["data"]).parent / "data.process.json"
    known = json.loads(record.read_text())
    record.write_text(json.dumps({"pid": known["pid"], "started": known["started"]}))
    assert _ProcessProvider().read("some-server", running).id == "some-server"
    assert record.stat().st_mode & 0o077 == 0


def test_update_to_a_taken_port_fails_before_the_old_process_stops(running: dict[str, Any]) -> None:
    with socket.create_server((HOST, 0)) as taken:
        news = running | {"port": taken.getsockname()[1]}
        with pytest.raises(UserError, match="some-server cannot listen on port"):
            _ProcessProvider().update("some-server", running, news)
    assert response(running) == "old"
    assert psutil.pid_exists(running["pid"])


@pytest.fixture
def successor(running: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return the inputs of another process of the stack, which gets the port of the running one."""
    inputs = {name: value for name, value in running.items() if name not in ("pid", "url")}
    environment = {"STATUS": "200", "VERSION": "successor"}
    return inputs | {"name": "other-server", "data": str(tmp_path / "other"), "environment": environment}


def test_create_at_the_port_of_a_process_of_the_stack_replaces_it(
    running: dict[str, Any], successor: dict[str, Any]
) -> None:
    """Settings have each port once: the process that has the port gets another one, or is deleted afterwards."""
    provider = _ProcessProvider()
    state = provider.create(successor).outs or {}
    assert response(state) == "successor"
    provider.delete("some-server", running)
    assert response(state) == "successor"
    provider.delete("other-server", state)


def test_create_that_fails_at_the_port_of_a_process_of_the_stack_starts_that_one_again(
    running: dict[str, Any], successor: dict[str, Any]
) -> None:
    with pytest.raises(UserError, match="other-server ended with code 3 at its start"):
        _ProcessProvider().create(successor | {"command": [sys.executable, "-c", "raise SystemExit(3)"]})
    assert response(running) == "old"
    assert _ProcessProvider().read("some-server", running).id == "some-server"


def test_update_of_two_processes_exchanges_their_ports(running: dict[str, Any], successor: dict[str, Any]) -> None:
    provider, port = _ProcessProvider(), free_port()
    command = successor["command"]
    state = provider.create(successor | {"port": port, "command": [*command[:-1], str(port)]}).outs or {}
    moved = provider.update("other-server", state, state | {"port": running["port"], "command": command}).outs or {}
    old = provider.update("some-server", running, running | {"port": port, "command": state["command"]}).outs or {}
    assert (response(moved), response(old)) == ("successor", "old")
    provider.delete("other-server", moved)


def test_create_at_the_port_of_another_stack_is_refused(
    running: dict[str, Any], successor: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="other-server cannot listen on port"):
        _ProcessProvider().create(successor | {"data": str(tmp_path / "another-stack" / "other")})
    assert response(running) == "old"
