"""TCP connections whose making can be ended."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from typing import Any

from .errors import Unreached
from .login import Login
from .operation import Operation

_STEP = 0.2
"""Seconds between looks at whether the operation was ended."""


def open_socket(login: Login, operation: Operation) -> socket.socket:
    """A connection to one of the host's addresses. Raises Unreached if none answers in time."""
    try:
        addresses = socket.getaddrinfo(login.host, login.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise Unreached(f"dial tcp: lookup {login.host}: {error.strerror}") from error
    problems = []
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            _connect(connection, address, login.timeout, operation)
            return connection
        except OSError as error:
            connection.close()
            problems.append((error.strerror or str(error)).lower())
        except BaseException:
            connection.close()
            raise
    raise Unreached(f"dial tcp {login.address}: {'; '.join(problems)}")


def _connect(connection: socket.socket, address: Any, timeout: float | None, operation: Operation) -> None:
    deadline = None if timeout is None else time.monotonic() + timeout
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code == errno.EINPROGRESS:
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_WRITE)
            while not selector.select(_STEP):
                operation.check()
                if deadline is not None and time.monotonic() > deadline:
                    raise TimeoutError(errno.ETIMEDOUT, "i/o timeout")
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))
    connection.setblocking(True)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
