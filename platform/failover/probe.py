"""Probes of hosts by TCP. The kernel answers them, so a busy processor of a host does not delay the answer."""

from __future__ import annotations

import errno
import selectors
import socket
import struct
import time
from collections.abc import Iterable
from contextlib import ExitStack

RESET = struct.pack("ii", 1, 0)
"""Value of SO_LINGER: closing sends RST, so that no connection remains in TIME_WAIT."""


def responding_hosts(addresses: Iterable[str], port: int, seconds: float) -> set[str]:
    """Return the addresses that accept or refuse a connection to the port within `seconds`.

    The last look at the connections follows after the time, so a delay of this program makes no host silent.
    """
    responding: set[str] = set()
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for address in addresses:
            connection = stack.enter_context(socket.socket())
            connection.setblocking(False)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            code = connection.connect_ex((address, port))
            if code == errno.EINPROGRESS:
                selector.register(connection, selectors.EVENT_WRITE, (address, connection))
            elif code in (0, errno.ECONNREFUSED):
                responding.add(address)
        end = time.monotonic() + seconds
        while selector.get_map():
            events = selector.select(max(0.0, end - time.monotonic()))
            if not events:
                break
            for key, _ in events:
                address, connection = key.data
                selector.unregister(connection)
                if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) in (0, errno.ECONNREFUSED):
                    responding.add(address)
    return responding
