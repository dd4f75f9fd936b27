"""TCP connections that can be cancelled while they are being established."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from typing import Any

from airgap.stand_ins.command.resource_command.errors import HostUnreachable
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.command.resource_command.ssh.login import Login

_STEP = 0.2
"""Seconds between checks for cancellation."""


def open_socket(login: Login, operation: Operation) -> socket.socket:
    """Connect to one of the host's addresses.

    Raises:
        HostUnreachable: no address answers in time.
    """
    try:
        addresses = socket.getaddrinfo(login.host, login.port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        raise HostUnreachable(f"dial tcp: lookup {login.host}: {error.strerror}") from error
    reasons = []
    for family, kind, protocol, _, address in addresses:
        connection = socket.socket(family, kind, protocol)
        try:
            _connect(connection, address, login.timeout, operation)
            return connection
        except OSError as error:
            connection.close()
            reasons.append((error.strerror or str(error)).lower())
        except BaseException:
            connection.close()
            raise
    raise HostUnreachable(f"dial tcp {login.address}: {'; '.join(reasons)}")


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
