"""Ends connections of clients that fell silent in the middle of a request, as dead ones do.

Each holds a thread of its worker, and no end is told of a machine that lost its power: as many of them as there are
threads would have the worker answer nobody any more. Between requests, granian itself ends what is silent.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from contextlib import suppress
from pathlib import Path

SECONDS = 30
"""How long nothing may come or go; granian's own, between requests."""
LOOK_SECONDS = 5
DESCRIPTORS = Path("/proc/self/fd")
HERE = hasattr(socket, "TCP_INFO") and DESCRIPTORS.is_dir()
"""Whether the system tells of a connection's silence: Linux does."""
TCP_INFO = struct.Struct("=B43xI4xI")
"""Of `struct tcp_info` in linux/tcp.h: state, and milliseconds since data was last sent, and last received."""
ESTABLISHED = 1


def watch(port: int) -> None:
    """End those of this process that came to `port`, again and again."""
    while HERE:
        time.sleep(LOOK_SECONDS)
        for descriptor in DESCRIPTORS.iterdir():
            with suppress(OSError):  # no connection, or no longer
                _end_if_silent(int(descriptor.name), port)


def _end_if_silent(descriptor: int, port: int) -> None:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO.size)
        state, since_sent, since_received = TCP_INFO.unpack(told)
        silent = min(since_sent, since_received) > 1000 * SECONDS
        if state == ESTABLISHED and silent and connection.getsockname()[1] == port:
            connection.shutdown(socket.SHUT_RDWR)
