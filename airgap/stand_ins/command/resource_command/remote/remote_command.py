"""Commands on another computer, over SSH."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import paramiko

from airgap.stand_ins.command.resource_command.capture import OutputCapture, Stream
from airgap.stand_ins.command.resource_command.command_resource import Invocation
from airgap.stand_ins.command.resource_command.errors import OperationCancelled, OperationFailed
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.command.resource_command.ssh.connection import is_closed, open_transport
from airgap.stand_ins.command.resource_command.ssh.session import LARGEST_REQUEST, kill, open_session
from airgap.stand_ins.protocol.property_values import Properties


def run_remote_command(invocation: Invocation, operation: Operation) -> Properties:
    """Run the command; return stdout and stderr.

    Raises:
        OperationFailed: the host is unreachable, the connection drops, or the command does not exit with code 0.
    """
    if len(invocation.command.encode()) > LARGEST_REQUEST:
        raise OperationFailed(
            f"the command has more than {LARGEST_REQUEST} bytes, the most that SSH takes; stdin has no such limit"
        )
    connection = invocation.inputs["connection"]
    capture = OutputCapture(invocation.inputs.get("logging"), operation.log.status)
    with open_transport(connection, operation) as transport:
        try:
            failure = _failure(_run(transport, invocation, capture, operation), transport, connection["host"])
        except (paramiko.SSHException, EOFError, OSError) as error:
            failure = str(error) or "connection closed"
    if failure := operation.reason or failure:
        error_type = OperationCancelled if operation.reason else OperationFailed
        raise error_type(f"{failure}: running {invocation.quoted}:\n{capture.for_error()}")
    return {"stdout": capture.output("stdout"), "stderr": capture.output("stderr")}


def _run(transport: paramiko.Transport, invocation: Invocation, capture: OutputCapture, operation: Operation) -> int:
    """Return the command's exit code, or -1 without one."""
    with (
        open_session(
            transport, invocation.inputs.get("environment", {}), invocation.previous_output(), operation
        ) as channel,
        operation.on_cancel(lambda: kill(channel)),
    ):
        channel.exec_command(invocation.command)
        threads = [
            threading.Thread(target=_write, args=(channel, invocation.inputs.get("stdin", "")), daemon=True),
            threading.Thread(target=capture.read, args=("stdout", _chunks(channel, "stdout")), daemon=True),
            threading.Thread(target=capture.read, args=("stderr", _chunks(channel, "stderr")), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        return channel.recv_exit_status()


def _write(channel: paramiko.Channel, text: str) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):  # a command may ignore its input
        channel.sendall(text.encode())
        channel.shutdown_write()


def _chunks(channel: paramiko.Channel, stream: Stream) -> Iterator[bytes]:
    receive = channel.recv if stream == "stdout" else channel.recv_stderr
    return iter(lambda: receive(65536), b"")


def _failure(status: int, transport: paramiko.Transport, host: str) -> str:
    """Return the error text for an exit status; empty for 0."""
    if status >= 0:
        return f"Process exited with status {status}" if status else ""
    if is_closed(transport):
        return f"the connection to {host} was lost before the command ended; the command may still run there"
    return "the command was killed by a signal"
