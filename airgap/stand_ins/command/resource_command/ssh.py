"""Connections over SSH, also through a jump host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import paramiko

from .agent import agent_keys
from .errors import Failed, Unreached
from .keepalive import watched
from .login import Login, authenticate, read_login
from .operation import Operation
from .retry import dial
from .tcp import open_socket

# What paramiko logs would reach the user as the plugin's own output; it raises its errors as well.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_NO_END = 1e6
"""Seconds that stand for no timeout where paramiko wants a number."""


@contextmanager
def connected(connection: Mapping[str, Any], operation: Operation) -> Iterator[paramiko.Transport]:
    """A connection by the input `connection`, watched, and closed with the block.

    Raises Failed when no attempt is left, a key is unusable, or the host's key is another than the expected one.
    """
    login, proxy = read_login(connection), connection.get("proxy")
    with ExitStack() as stack:
        if proxy is None:
            transport = _dial(stack, "Dial", login, lambda: open_socket(login, operation), operation)
        else:
            try:
                bastion = read_login(proxy)
                hop = _dial(stack, "Dial proxy", bastion, lambda: open_socket(bastion, operation), operation)
                transport = _dial(stack, "Dial from proxy", login, lambda: _open_channel(hop, login), operation)
            except Failed as error:
                raise type(error)(f"proxy: {error}") from error
        with watched(transport):
            yield transport


def lost(transport: paramiko.Transport) -> bool:
    """Whether the connection has ended. It may take paramiko a moment to notice."""
    transport.join(1)
    return not transport.is_active()


def _dial(
    stack: ExitStack, what: str, login: Login, reach: Callable[[], Any], operation: Operation
) -> paramiko.Transport:
    """A transport over what `reach` returns (a socket or a channel), closed with the stack or the operation."""
    with agent_keys(login.agent) as keys:
        transport = dial(what, login.limit, lambda: _log_in(reach(), login, keys, operation), operation)
    stack.enter_context(closing(transport))
    stack.enter_context(operation.on_cancel(transport.close))
    return transport


def _open_channel(hop: paramiko.Transport, login: Login) -> paramiko.Channel:
    try:
        return hop.open_channel(
            "direct-tcpip", (login.host, login.port), ("127.0.0.1", 0), timeout=login.timeout or _NO_END
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreached(f"dial tcp {login.address}: {error}") from error


def _log_in(connection: Any, login: Login, keys: tuple[paramiko.PKey, ...], operation: Operation) -> paramiko.Transport:
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = login.timeout or _NO_END
    try:
        with operation.on_cancel(transport.close):
            _exchange_keys(transport, login)
            authenticate(transport, login, keys)
        return transport
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        operation.check()
        raise Unreached(f"{login.address}: ssh: handshake failed: {error or 'connection closed'}") from error
    except BaseException:
        transport.close()
        raise


def _exchange_keys(transport: paramiko.Transport, login: Login) -> None:
    """Raises Failed at once where the host has another key: it would get no better by waiting."""
    expected = login.host_key
    if expected is not None:
        kind = expected.get_name()
        transport.get_security_options().key_types = _RSA if kind == "ssh-rsa" else (kind,)
    try:
        transport.start_client(timeout=login.timeout)
        found = transport.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if expected is None or "host key" not in str(error):
            raise
        raise Failed(_mismatch(login, expected, f"none of kind {expected.get_name()}")) from error
    if expected is not None and found.asbytes() != expected.asbytes():
        raise Failed(_mismatch(login, expected, f"{found.get_name()} {found.fingerprint}"))


def _mismatch(login: Login, expected: paramiko.PKey, found: str) -> str:
    return (
        f"{login.address}: ssh: host key mismatch: expected {expected.get_name()} {expected.fingerprint},"
        f" the host has {found}. If it was set up anew, hostKey must be its new key; else another machine answers."
    )
