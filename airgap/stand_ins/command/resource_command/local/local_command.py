"""Commands on this computer, each in a new process group."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from airgap.stand_ins.command.resource_command.capture import OutputCapture
from airgap.stand_ins.command.resource_command.command_resource import Invocation
from airgap.stand_ins.command.resource_command.errors import OperationCancelled, OperationFailed
from airgap.stand_ins.command.resource_command.local.assets import archive_of, assets_of
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.protocol.property_values import Properties

_SHELL = ["/bin/sh", "-c"]
_GRACE = 2.0
"""Seconds to wait for a killed group and for its output; a process outside the group can keep the output open."""


def run_local_command(invocation: Invocation, operation: Operation) -> Properties:
    """Run the command; return stdout and stderr, and assets and archive if their inputs are set.

    Raises:
        OperationFailed: the command does not start, exits with a code other than 0, or is killed by a signal.
    """
    operation.check()
    directory = Path(invocation.inputs.get("dir", Path.cwd()))
    capture = OutputCapture(invocation.inputs.get("logging"), operation.log.status)
    process = _start(invocation, directory)
    with operation.on_cancel(lambda: _kill_group(process)):
        _start_thread(_write, process.stdin, invocation.inputs.get("stdin", ""))
        readers = [
            _start_thread(capture.read, "stdout", _chunks(process.stdout)),
            _start_thread(capture.read, "stderr", _chunks(process.stderr)),
        ]
        _join(readers, operation)
        code = process.wait()
        if operation.reason:
            _wait_for_group(process)
    if reason := operation.reason or _failure(code):
        error_type = OperationCancelled if operation.reason else OperationFailed
        raise error_type(f"{reason}: running {invocation.quoted}:\n{capture.for_error()}")
    outputs: Properties = {"stdout": capture.output("stdout"), "stderr": capture.output("stderr")}
    if (globs := invocation.inputs.get("assetPaths")) is not None:
        outputs["assets"] = dict(assets_of(directory, globs))
    if (globs := invocation.inputs.get("archivePaths")) is not None:
        outputs["archive"] = archive_of(directory, globs)
    return outputs


def _start(invocation: Invocation, directory: Path) -> subprocess.Popen[bytes]:
    arguments = [*(invocation.inputs.get("interpreter") or _SHELL), invocation.command]
    program = arguments[0] if "/" in arguments[0] else shutil.which(arguments[0])
    if program is None:
        raise OperationFailed(f'"{arguments[0]}": executable file not found in $PATH: running {invocation.quoted}')
    environment = os.environ | invocation.inputs.get("environment", {}) | invocation.previous_output()
    try:
        return subprocess.Popen(
            arguments,
            executable=program,
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE if invocation.inputs.get("stdin") else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except OSError as error:
        raise OperationFailed(f"{error.filename or program}: {error.strerror}: running {invocation.quoted}") from error
    except ValueError as error:  # a null character
        raise OperationFailed(f"{error}: running {invocation.quoted}") from error


def _write(stdin: IO[bytes] | None, text: str) -> None:
    if stdin is not None:
        with suppress(BrokenPipeError), stdin:  # a command may ignore its input
            stdin.write(text.encode())


def _chunks(stream: IO[bytes] | None) -> Iterator[bytes]:
    assert isinstance(stream, io.BufferedReader)
    with stream:
        while chunk := stream.read1(65536):
            yield chunk


def _start_thread(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _join(readers: list[threading.Thread], operation: Operation) -> None:
    for reader in readers:
        while reader.is_alive() and not operation.reason:
            reader.join(0.5)
        reader.join(_GRACE)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait_for_group(process: subprocess.Popen[bytes]) -> None:
    """Wait until all processes of a killed group have exited."""
    deadline = time.monotonic() + _GRACE
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.01)


def _failure(code: int) -> str:
    """Return the official provider's text for an exit code; empty for 0."""
    if code < 0:
        return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"exit status {code}" if code else ""
