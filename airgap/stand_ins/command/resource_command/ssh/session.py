"""Session channels with environment variables and signals, which paramiko's own calls do not support."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from airgap.stand_ins.command.resource_command.errors import OperationFailed
from airgap.stand_ins.command.resource_command.operation import Operation

LARGEST_REQUEST = 255 * 1024
"""Bytes of a variable or a command: OpenSSH closes a connection on a packet of more than 256 KiB."""

_REFUSED = (
    "Unable to set '{}'. This only works if your SSH server is configured to accept these variables via AcceptEnv."
    " Alternatively, if a Bash-like shell runs the command on the remote host, you could prefix the command itself"
    " with the variables in the form 'VAR=value command'"
)


def open_session(
    transport: paramiko.Transport, required: dict[str, str], optional: dict[str, str], operation: Operation
) -> paramiko.Channel:
    """Open a channel for a command and set its environment variables; warn about refused optional ones.

    Raises:
        OperationFailed: the server refuses a required variable.
    """
    optional = dict(optional)
    while True:
        channel = transport.open_session()
        refused = next((name for name, value in (required | optional).items() if not _set(channel, name, value)), None)
        if refused is None:
            return channel
        if refused in required:
            operation.log.error(_REFUSED.format(refused))
            raise OperationFailed(f'could not set environment variable "{refused}": ssh: setenv failed')
        operation.log.warning(_REFUSED.format(refused))
        del optional[refused]  # paramiko closes the channel after a refusal -> open another one


def kill(channel: paramiko.Channel) -> None:
    """Request that the server kill the command. OpenSSH ignores this for root."""

    def send_kill() -> None:
        with suppress(paramiko.SSHException, EOFError, OSError):
            _request(channel, "signal", "KILL", wants_reply=False)

    sender = threading.Thread(target=send_kill, daemon=True)
    sender.start()
    sender.join(1)  # an unresponsive host accepts no request


def _set(channel: Any, name: str, value: str) -> bool:
    """Set a variable and return False if the server refuses it. Paramiko's own call requests no reply."""
    if len(value.encode()) > LARGEST_REQUEST:
        return False
    channel._event_pending()
    _request(channel, "env", name, value, wants_reply=True)
    try:
        channel._wait_for_event()
    except paramiko.SSHException:
        if not channel.transport.is_active():
            raise
        return False
    return True


def _request(channel: Any, kind: str, *strings: str, wants_reply: bool) -> None:
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(wants_reply)
    for string in strings:
        message.add_string(string)
    channel.transport._send_user_message(message)
