"""Closes connections that are idle in the middle of a request, such as those of a machine that lost its power.

Each of them blocks a thread of its worker. Between requests, granian closes idle connections.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path

IDLE_SECONDS = 30
"""Time without any data in either direction; granian uses the same between requests."""
SCAN_SECONDS = 5
DESCRIPTORS = Path("/proc/self/fd")
SUPPORTED = hasattr(socket, "TCP_INFO") and DESCRIPTORS.is_dir()
"""True on Linux, which reports how long a connection has been idle."""
TCP_INFO = struct.Struct("=B43xI4xI")
"""From `struct tcp_info` in linux/tcp.h: state, and milliseconds since data was last sent and last received."""
ESTABLISHED = 1


def watch(port: int) -> None:
    """Close idle connections of this process to `port`; never returns on Linux."""
    while SUPPORTED:
        time.sleep(SCAN_SECONDS)
        for descriptor in DESCRIPTORS.iterdir():
            with suppress(OSError):  # no connection, or closed meanwhile
                _close_if_idle(int(descriptor.name), port)


def _close_if_idle(descriptor: int, port: int) -> None:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
        state, since_sent, since_received = TCP_INFO.unpack(info)
        idle = min(since_sent, since_received) > 1000 * IDLE_SECONDS
        if state == ESTABLISHED and idle and connection.getsockname()[1] == port:
            connection.shutdown(socket.SHUT_RDWR)
