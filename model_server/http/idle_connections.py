"""Closes connections that stall in the middle of a request, such as those of a machine that lost its power.

Each of them blocks a thread of its worker, and neither granian nor WSGI has a timeout for bodies. Between requests,
granian closes idle connections.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from model_server.settings import ServerSettings

SCAN_SECONDS = 5
CROWDED_SCAN_SECONDS = 0.25
"""Pause between two scans while requests wait for others to send their bodies."""
LEAST_SECONDS = 1
"""Age from which a request may be closed for others to proceed."""
DESCRIPTORS = Path("/proc/self/fd")
SUPPORTED = hasattr(socket, "TCP_INFO") and DESCRIPTORS.is_dir()
"""True on Linux, which reports how long a connection has been idle."""
TCP_INFO = struct.Struct("=B43xI4xI64xQ")
"""From `struct tcp_info` in linux/tcp.h: the state, milliseconds since data was last sent and received, bytes sent."""
ESTABLISHED = 1
SAME_SECONDS = 0.1
"""Tolerance for equal times of two scans; the kernel's clock has steps of 4 to 10 ms."""


class _Connection(NamedTuple):
    """A connection in the middle of a request; the times are those of `time.monotonic`."""

    descriptor: int
    last_sent: float
    started: float


class ConnectionWatch:
    """Closes connections of this process whose requests take longer than the settings allow.

    While `crowded` is set, it also closes the slowest of the other connections.
    """

    def __init__(self, settings: ServerSettings, crowded: threading.Event) -> None:
        self._port = settings.port
        self._body_seconds = settings.body_seconds
        self._most_closed = max(1, settings.max_bodies // 4)
        self._crowded = crowded
        self._known: dict[int, _Connection] = {}
        self._last_scan = time.monotonic()

    def run(self) -> None:
        """Scan all connections again and again; never returns on Linux."""
        while SUPPORTED:
            if self._crowded.wait(min(SCAN_SECONDS, self._body_seconds / 2)):
                time.sleep(CROWDED_SCAN_SECONDS)
            self._scan()

    def _scan(self) -> None:
        now = time.monotonic()
        crowded = self._crowded.is_set()
        self._known = {connection.descriptor: connection for connection in self._connections(now)}
        self._last_scan = now
        oldest_first = sorted(self._known.values(), key=lambda connection: connection.started)
        for index, connection in enumerate(oldest_first):
            is_slow = crowded and index < self._most_closed and now - connection.started > LEAST_SECONDS
            if is_slow or now - connection.started > self._body_seconds:
                with suppress(OSError), closing(_duplicate(connection.descriptor)) as stalled:  # or closed meanwhile
                    stalled.shutdown(socket.SHUT_RDWR)

    def _connections(self, now: float) -> Iterator[_Connection]:
        """Return the connections to the port that are in the middle of a request, or idle for too long."""
        for entry in DESCRIPTORS.iterdir():
            with suppress(OSError):  # no connection, or closed meanwhile
                descriptor = int(entry.name)
                if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                    with closing(_duplicate(descriptor)) as connection:
                        if found := self._inspect(connection, descriptor, now):
                            yield found

    def _inspect(self, connection: socket.socket, descriptor: int, now: float) -> _Connection | None:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
        state, since_sent, since_received, sent = TCP_INFO.unpack(info)
        last_sent, last_received = now - since_sent / 1000, now - since_received / 1000
        if state != ESTABLISHED or connection.getsockname()[1] != self._port:
            return None
        if last_received > last_sent or (last_received == last_sent and not sent):
            # The client sent something since the last response, or since it connected.
            known = self._known.get(descriptor)
            if known and abs(known.last_sent - last_sent) < SAME_SECONDS:
                return known
            return _Connection(descriptor, last_sent, max(last_sent, self._last_scan))
        if now - last_sent > self._body_seconds:
            return _Connection(descriptor, last_sent, last_sent)
        return None


def _duplicate(descriptor: int) -> socket.socket:
    return socket.socket(fileno=os.dup(descriptor))
