"""`make pages` with a stand-in for kubectl, which listens at the port."""

from __future__ import annotations

import builtins
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from infra.local.free_ports import free_ports
from tools.cli import forwarded_pages
from tools.cli.cluster_access import AccessError
from tools.cli.forwarded_pages import pages

STACK: Any = SimpleNamespace(stack="managed")
LISTEN = """
import os, socket, sys, time
port = int(sys.argv[-1])
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
time.sleep(0.2)
try:
    listener.bind(("127.0.0.1", port))
except OSError:
    print(f"Unable to listen on port {port}: Listeners failed to create", file=sys.stderr)
    sys.exit(f"error: unable to listen on any of the requested ports: [{{{port} {port}}}]")
listener.listen()
print(f"Forwarding from 127.0.0.1:{port} -> {port}", flush=True)
print("Handling connection for", port, flush=True)
"""
WAIT = "time.sleep(60)"


@pytest.fixture
def kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace kubectl by a program for which each test gives the text."""
    program = tmp_path / "kubectl"
    program.touch(mode=0o755)
    monkeypatch.setattr(forwarded_pages, "kubectl_program", lambda: str(program))
    return program


def write(program: Path, **ends: str) -> None:
    """Write a kubectl that listens, then does what `ends` has for the service."""
    cases = "\n".join(f"if 'service/{service}' in sys.argv:\n    {end}" for service, end in ends.items())
    program.write_text(f"#!{sys.executable}\n{LISTEN}{cases}\n")


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Give the stack the services `mlflow` and `iris`, and return their ports."""
    mlflow, iris = free_ports(2)
    outputs = {
        "kubeconfig": "x",
        "tracking_url": f"http://mlflow.t.svc:{mlflow}",
        "score_url": f"http://iris.s.svc:{iris}/score",
        "door_url": "https://ml.example.com",
    }
    monkeypatch.setattr(forwarded_pages, "secret_outputs", lambda _: outputs)
    return mlflow, iris


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_pages_print_addresses_at_which_kubectl_listens(
    kubectl: Path, ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(kubectl, mlflow=WAIT, iris=WAIT)
    printed: list[tuple[str, list[bool]]] = []

    def record(text: str, **_: object) -> None:
        printed.append((text, [listens(each) for each in ports]))
        if "Ctrl-C" in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "print", record)
    assert pages(STACK, []) == 0
    assert printed == [
        (f"tracking: http://127.0.0.1:{ports[0]}", [True, True]),
        (f"score: http://127.0.0.1:{ports[1]}/score", [True, True]),
        ("Press Ctrl-C to stop.", [True, True]),
    ]
    assert not any(listens(each) for each in ports)


def test_pages_at_a_port_that_is_taken_name_its_setting_and_end_the_other_forwards(
    kubectl: Path, ports: tuple[int, int], capsys: pytest.CaptureFixture[str]
) -> None:
    write(kubectl, mlflow=WAIT, iris=WAIT)
    with socket.create_server(("127.0.0.1", ports[0])):
        expected = f"tracking_url: port {ports[0]} of this computer is taken; .* set another platform:tracking.port"
        with pytest.raises(AccessError, match=expected):
            pages(STACK, [])
    assert not any(listens(each) for each in ports)
    assert capsys.readouterr().out == ""


def test_pages_report_a_forward_that_cannot_start(kubectl: Path, ports: tuple[int, int]) -> None:
    kubectl.write_text("#!/bin/sh\necho 'error: services \"mlflow\" not found' >&2\nexit 1\n")
    with pytest.raises(AccessError, match=r'_url cannot be forwarded: error: services "mlflow" not found'):
        pages(STACK, [])


def test_pages_end_with_the_reason_when_a_forward_ends(
    kubectl: Path, ports: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = tmp_path / "printed"
    lose = f'while not os.path.exists("{printed}"): time.sleep(0.1)\n    sys.exit("error: lost connection to pod")'
    write(kubectl, mlflow=lose, iris=WAIT)
    monkeypatch.setattr(builtins, "print", lambda *_, **__: printed.touch())
    with pytest.raises(AccessError, match=r"forward of tracking_url ended; .*: error: lost connection to pod"):
        pages(STACK, [])
    assert not any(listens(each) for each in ports)
