"""SSH connections, direct or through a jump host."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import paramiko

from airgap.stand_ins.command.resource_command.errors import HostUnreachable, OperationFailed
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.command.resource_command.ssh.agent import agent_keys
from airgap.stand_ins.command.resource_command.ssh.dial import dial
from airgap.stand_ins.command.resource_command.ssh.keepalive import keep_alive
from airgap.stand_ins.command.resource_command.ssh.login import Login, authenticate, parse_login
from airgap.stand_ins.command.resource_command.ssh.tcp import open_socket

# Paramiko raises its errors and also logs them, and the log would show as output of the plugin -> drop it.
logging.getLogger("paramiko").addHandler(logging.NullHandler())
logging.getLogger("paramiko").propagate = False

_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_NO_TIMEOUT = 1e6
"""Seconds; stands for no timeout where paramiko requires a number."""


@contextmanager
def open_transport(connection: Mapping[str, Any], operation: Operation) -> Iterator[paramiko.Transport]:
    """Connect by the input `connection`, with keepalive; close the connection with the block.

    Raises:
        OperationFailed: all attempts failed, a key is unusable, or the host has another key than the expected one.
    """
    login, proxy = parse_login(connection), connection.get("proxy")
    with ExitStack() as stack:
        if proxy is None:
            transport = _dial(stack, "Dial", login, lambda: open_socket(login, operation), operation)
        else:
            try:
                bastion = parse_login(proxy)
                hop = _dial(stack, "Dial proxy", bastion, lambda: open_socket(bastion, operation), operation)
                transport = _dial(stack, "Dial from proxy", login, lambda: _open_channel(hop, login), operation)
            except OperationFailed as error:
                raise type(error)(f"proxy: {error}") from error
        with keep_alive(transport):
            yield transport


def is_closed(transport: paramiko.Transport) -> bool:
    """Return True if the connection is closed; waits up to 1 s for paramiko to detect it."""
    transport.join(1)
    return not transport.is_active()


def _dial(
    stack: ExitStack, label: str, login: Login, open_link: Callable[[], Any], operation: Operation
) -> paramiko.Transport:
    """Return an authenticated transport over the socket or channel of `open_link`; the stack closes it."""
    with agent_keys(login.agent) as keys:
        transport = dial(label, login.limit, lambda: _log_in(open_link(), login, keys, operation), operation)
    stack.enter_context(closing(transport))
    stack.enter_context(operation.on_cancel(transport.close))
    return transport


def _open_channel(hop: paramiko.Transport, login: Login) -> paramiko.Channel:
    try:
        return hop.open_channel(
            "direct-tcpip", (login.host, login.port), ("127.0.0.1", 0), timeout=login.timeout or _NO_TIMEOUT
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise HostUnreachable(f"dial tcp {login.address}: {error}") from error


def _log_in(connection: Any, login: Login, keys: tuple[paramiko.PKey, ...], operation: Operation) -> paramiko.Transport:
    transport = paramiko.Transport(connection)
    transport.banner_timeout = transport.handshake_timeout = transport.auth_timeout = login.timeout or _NO_TIMEOUT
    try:
        with operation.on_cancel(transport.close):
            _exchange_keys(transport, login)
            authenticate(transport, login, keys)
        return transport
    except (paramiko.SSHException, EOFError, OSError) as error:
        transport.close()
        operation.check()
        raise HostUnreachable(f"{login.address}: ssh: handshake failed: {error or 'connection closed'}") from error
    except BaseException:
        transport.close()
        raise


def _exchange_keys(transport: paramiko.Transport, login: Login) -> None:
    """Exchange keys; raise OperationFailed without a retry if the host has another key than expected."""
    expected = login.host_key
    if expected is not None:
        kind = expected.get_name()
        transport.get_security_options().key_types = _RSA if kind == "ssh-rsa" else (kind,)
    try:
        transport.start_client(timeout=login.timeout)
        actual = transport.get_remote_server_key()
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if expected is None or "host key" not in str(error):
            raise
        raise OperationFailed(_mismatch(login, expected, f"none of kind {expected.get_name()}")) from error
    if expected is not None and actual.asbytes() != expected.asbytes():
        raise OperationFailed(_mismatch(login, expected, f"{actual.get_name()} {actual.fingerprint}"))


def _mismatch(login: Login, expected: paramiko.PKey, actual: str) -> str:
    return (
        f"{login.address}: ssh: host key mismatch: expected {expected.get_name()} {expected.fingerprint},"
        f" the host has {actual}. If the host was reinstalled, set hostKey to its new key;"
        " otherwise the address belongs to another machine."
    )
