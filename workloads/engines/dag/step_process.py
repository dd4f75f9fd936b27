"""Process of a step: its output, and the processes that it leaves behind."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

PIECE_BYTES = 65536
REST_SECONDS = 2
"""Time after the end of a step in which its other processes may still write."""


async def run_process(command: Sequence[str], variables: Mapping[str, str], write: Callable[[str], None]) -> int:
    """Run a command, pass each line of its output to `write`, and return its exit code.

    The command is in a process group. What is left of the group is killed after the command ended. A helper of another
    group may keep the output open for longer: it is not read any further.
    """
    output, input_end = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env=variables, stdin=DEVNULL, stdout=input_end, stderr=input_end, process_group=0
        )
    except BaseException:
        os.close(output)
        raise
    finally:
        os.close(input_end)
    lines = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(output, "rb", buffering=0)
    )
    ending = asyncio.create_task(_end_output(process, pipe))
    try:
        await _copy(lines, write)
        return await process.wait()
    finally:
        ending.cancel()
        pipe.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


async def _end_output(process: Process, pipe: asyncio.BaseTransport) -> None:
    """Close the output some time after the end of the process; its reader then finds the end."""
    await process.wait()
    await asyncio.sleep(REST_SECONDS)
    pipe.close()


async def _copy(output: asyncio.StreamReader, write: Callable[[str], None]) -> None:
    rest = b""
    while piece := await output.read(PIECE_BYTES):
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            write(line.decode(errors="replace"))
    if rest:
        write(rest.decode(errors="replace"))
