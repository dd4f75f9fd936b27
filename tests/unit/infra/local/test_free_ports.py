"""Ports of this computer for temporary services."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from infra.local import free_ports
from infra.local.free_ports import PORTS

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.mark.skipif(not OUTGOING.exists(), reason="needs the files of Linux")
def test_free_ports_are_none_of_an_outgoing_connection() -> None:
    first, last = map(int, OUTGOING.read_text().split())
    assert set(PORTS).isdisjoint(range(first, last + 1))


def test_free_ports_leave_out_the_ports_of_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setattr(free_ports, "PORTS", range(taken, taken + 1))
        with pytest.raises(OSError, match=f"no 1 free ports from {taken} to {taken}"):
            free_ports.free_port()


def test_free_ports_are_different() -> None:
    assert len(set(free_ports.free_ports(8))) == 8
