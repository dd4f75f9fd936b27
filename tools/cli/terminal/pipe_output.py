"""Output whose reader may end before the command does, as in `make history | head`."""

from __future__ import annotations

import io
import sys
from typing import Any, TextIO


class PipeOutput(io.FileIO):
    """File descriptor that discards all output after its reader has ended.

    The command continues, because its result is more than its output: `make up` prints a summary before it prunes.
    """

    def write(self, data: Any, /) -> int:
        """Write bytes and return their number."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def tolerate_lost_readers() -> None:
    """Discard standard output and standard error after their readers have ended, instead of raising an error.

    Each line is written at once, so that it comes before the lines of a program that starts later.
    """
    sys.stdout, sys.stderr = _tolerant(sys.stdout), _tolerant(sys.stderr)


def _tolerant(stream: TextIO) -> TextIO:
    buffer = io.BufferedWriter(PipeOutput(stream.fileno(), "w", closefd=False))
    return io.TextIOWrapper(buffer, stream.encoding, stream.errors, line_buffering=True)
