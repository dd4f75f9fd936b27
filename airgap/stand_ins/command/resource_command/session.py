"""Requests of a session channel that paramiko has no call for: an environment that the server accepts, and a signal."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from .errors import Failed
from .operation import Operation

LARGEST_REQUEST = 255 * 1024
"""Bytes of a variable or a command: OpenSSH ends a connection with a packet of more than 256 KiB."""

_REFUSED = (
    "Unable to set '{}'. This only works if your SSH server is configured to accept these variables via AcceptEnv."
    " Alternatively, if a Bash-like shell runs the command on the remote host, you could prefix the command itself"
    " with the variables in the form 'VAR=value command'"
)


def open_session(
    transport: paramiko.Transport, needed: dict[str, str], wanted: dict[str, str], operation: Operation
) -> paramiko.Channel:
    """A channel for a command. Raises Failed when a `needed` variable is refused, and warns when a `wanted` one is."""
    wanted = dict(wanted)
    while True:
        channel = transport.open_session()
        refused = next((name for name, value in (needed | wanted).items() if not _set(channel, name, value)), None)
        if refused is None:
            return channel
        if refused in needed:
            operation.log.error(_REFUSED.format(refused))
            raise Failed(f'could not set environment variable "{refused}": ssh: setenv failed')
        operation.log.warning(_REFUSED.format(refused))
        del wanted[refused]  # paramiko closes a channel with a refused request: begin again


def kill(channel: paramiko.Channel) -> None:
    """Ask the server to kill what the command began. OpenSSH does for all users but root, whose commands go on."""

    def ask() -> None:
        with suppress(paramiko.SSHException, EOFError, OSError):
            _request(channel, "signal", "KILL", answered=False)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(1)  # a host that fell silent takes no request


def _set(channel: Any, name: str, value: str) -> bool:
    """Set a variable. Paramiko's own call asks for no answer, so that a refusal would go unseen."""
    if len(value.encode()) > LARGEST_REQUEST:
        return False
    channel._event_pending()
    _request(channel, "env", name, value, answered=True)
    try:
        channel._wait_for_event()
    except paramiko.SSHException:
        if not channel.transport.is_active():
            raise
        return False
    return True


def _request(channel: Any, kind: str, *strings: str, answered: bool) -> None:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(answered)
    for string in strings:
        message.add_string(string)
    channel.transport._send_user_message(message)
