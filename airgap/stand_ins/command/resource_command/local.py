"""Runs a command on this computer, in a process group of its own."""

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

from .capture import Capture
from .commands import Job
from .errors import Cancelled, Failed
from .files import archive_of, assets_of
from .operation import Operation
from .values import Properties

_SHELL = ["/bin/sh", "-c"]
_GRACE = 2.0
"""Seconds for a killed group, and for its output, to end: a process that left the group may hold that open."""


def run(job: Job, operation: Operation) -> Properties:
    """Run the command; return stdout and stderr, and assets and archive if their inputs are set.

    Raises Failed when it cannot be started, is ended by a signal, or exits with another code than 0.
    """
    operation.check()
    directory = Path(job.inputs.get("dir", Path.cwd()))
    capture = Capture(job.inputs.get("logging"), operation.log.status)
    process = _start(job, directory)
    with operation.on_cancel(lambda: _kill_group(process)):
        _begin(_write, process.stdin, job.inputs.get("stdin", ""))
        readers = [
            _begin(capture.read, "stdout", _chunks(process.stdout)),
            _begin(capture.read, "stderr", _chunks(process.stderr)),
        ]
        _join(readers, operation)
        code = process.wait()
        if operation.reason:
            _await_end_of_group(process)
    if reason := operation.reason or _failure(code):
        error = Cancelled if operation.reason else Failed
        raise error(f"{reason}: running {job.shown}:\n{capture.for_error()}")
    outputs: Properties = {"stdout": capture.output("stdout"), "stderr": capture.output("stderr")}
    if (globs := job.inputs.get("assetPaths")) is not None:
        outputs["assets"] = dict(assets_of(directory, globs))
    if (globs := job.inputs.get("archivePaths")) is not None:
        outputs["archive"] = archive_of(directory, globs)
    return outputs


def _start(job: Job, directory: Path) -> subprocess.Popen[bytes]:
    arguments = [*(job.inputs.get("interpreter") or _SHELL), job.command]
    program = arguments[0] if "/" in arguments[0] else shutil.which(arguments[0])
    if program is None:
        raise Failed(f'"{arguments[0]}": executable file not found in $PATH: running {job.shown}')
    environment = os.environ | job.inputs.get("environment", {}) | job.previous_output()
    try:
        return subprocess.Popen(
            arguments,
            executable=program,
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE if job.inputs.get("stdin") else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except OSError as error:
        raise Failed(f"{error.filename or program}: {error.strerror}: running {job.shown}") from error
    except ValueError as error:  # a null character
        raise Failed(f"{error}: running {job.shown}") from error


def _write(stdin: IO[bytes] | None, text: str) -> None:
    if stdin is not None:
        with suppress(BrokenPipeError), stdin:  # a command need not read what it is given
            stdin.write(text.encode())


def _chunks(stream: IO[bytes] | None) -> Iterator[bytes]:
    assert isinstance(stream, io.BufferedReader)
    with stream:
        while chunk := stream.read1(65536):
            yield chunk


def _begin(work: Callable[..., None], *arguments: Any) -> threading.Thread:
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


def _await_end_of_group(process: subprocess.Popen[bytes]) -> None:
    """A process that was killed is there for a moment more: who hears that the command has ended finds none of it."""
    deadline = time.monotonic() + _GRACE
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.01)


def _failure(code: int) -> str:
    """Why a command failed, in the words of the official provider, or nothing."""
    if code < 0:
        return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"exit status {code}" if code else ""
