"""Ports of this computer for temporary services."""

from __future__ import annotations

import secrets
import socket

PORTS = range(20_000, 30_000)
"""Ports that systems do not give to outgoing connections: such a connection would take a port before its service."""


def free_ports(count: int) -> list[int]:
    """Return different ports that no process listens on."""
    found: list[int] = []
    for port in secrets.SystemRandom().sample(PORTS, len(PORTS)):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise OSError(f"this computer has no {count} free ports from {PORTS.start} to {PORTS.stop - 1}")


def free_port() -> int:
    """Return a port that no process listens on."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
