"""Runs a command on another computer over SSH."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import paramiko

from .capture import Capture, Stream
from .commands import Job
from .errors import Cancelled, Failed
from .operation import Operation
from .session import LARGEST_REQUEST, kill, open_session
from .ssh import connected, lost
from .values import Properties


def run(job: Job, operation: Operation) -> Properties:
    """Run the command; return stdout and stderr.

    Raises Failed when the host cannot be reached, the connection drops, or the command does not end with code 0.
    """
    if len(job.command.encode()) > LARGEST_REQUEST:
        raise Failed(
            f"the command has more than {LARGEST_REQUEST} bytes, the most that SSH takes; stdin has no such limit"
        )
    connection = job.inputs["connection"]
    capture = Capture(job.inputs.get("logging"), operation.log.status)
    with connected(connection, operation) as transport:
        try:
            failure = _failure(_run(transport, job, capture, operation), transport, connection["host"])
        except (paramiko.SSHException, EOFError, OSError) as error:
            failure = str(error) or "connection closed"
    if failure := operation.reason or failure:
        error_type = Cancelled if operation.reason else Failed
        raise error_type(f"{failure}: running {job.shown}:\n{capture.for_error()}")
    return {"stdout": capture.output("stdout"), "stderr": capture.output("stderr")}


def _run(transport: paramiko.Transport, job: Job, capture: Capture, operation: Operation) -> int:
    """The command's exit code, or -1 if it has none."""
    with (
        open_session(transport, job.inputs.get("environment", {}), job.previous_output(), operation) as channel,
        operation.on_cancel(lambda: kill(channel)),
    ):
        channel.exec_command(job.command)
        threads = [
            threading.Thread(target=_write, args=(channel, job.inputs.get("stdin", "")), daemon=True),
            threading.Thread(target=capture.read, args=("stdout", _chunks(channel, "stdout")), daemon=True),
            threading.Thread(target=capture.read, args=("stderr", _chunks(channel, "stderr")), daemon=True),
        ]
        for thread in threads:
            thread.start()
        for thread in threads[1:]:
            thread.join()
        return channel.recv_exit_status()


def _write(channel: paramiko.Channel, text: str) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):  # a command need not read what it is given
        channel.sendall(text.encode())
        channel.shutdown_write()


def _chunks(channel: paramiko.Channel, stream: Stream) -> Iterator[bytes]:
    receive = channel.recv if stream == "stdout" else channel.recv_stderr
    return iter(lambda: receive(65536), b"")


def _failure(status: int, transport: paramiko.Transport, host: str) -> str:
    """Why a command failed, or nothing."""
    if status >= 0:
        return f"Process exited with status {status}" if status else ""
    if lost(transport):
        return f"the connection to {host} was lost before the command ended, which may still run there"
    return "the command was ended by a signal"
