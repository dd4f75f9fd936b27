"""The output of a command: stored as a whole, and logged line by line while the command runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Literal

Stream = Literal["stdout", "stderr"]

_LOGGED: dict[str, set[str]] = {
    "stdout": {"stdout"},
    "stderr": {"stderr"},
    "stdoutAndStderr": {"stdout", "stderr"},
}
_LONGEST_LINE = 64 * 1024
_LONGEST_ERROR = 64 * 1024


class OutputCapture:
    """The output of one command.

    Args:
        logging: the input of that name; None logs both streams.
        log: called with each line, without its line end.
    """

    def __init__(self, logging: str | None, log: Callable[[str], None]) -> None:
        self._logged = _LOGGED.get("stdoutAndStderr" if logging is None else logging, set())
        self._log = log
        self._streams: dict[Stream, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self._both = bytearray()
        self._lock = threading.Lock()

    def read(self, stream: Stream, chunks: Iterable[bytes]) -> None:
        """Read a stream to its end. Each stream has its thread."""
        line = bytearray()
        for chunk in chunks:
            with self._lock:
                self._streams[stream] += chunk
                self._both += chunk
            if stream in self._logged:
                line += chunk
                self._log_lines(line)
        if line:
            self._log(_text(line))

    def _log_lines(self, line: bytearray) -> None:
        """Log the complete lines and remove them; cut a line that is too long."""
        while (end := line.find(b"\n")) >= 0:
            self._log(_text(line[:end].removesuffix(b"\r")))
            del line[: end + 1]
        while len(line) >= _LONGEST_LINE:
            self._log(_text(line[:_LONGEST_LINE]))
            del line[:_LONGEST_LINE]

    def output(self, stream: Stream) -> str:
        """Return a stream without its last line end."""
        return _text(self._streams[stream]).removesuffix("\n")

    def for_error(self) -> str:
        """Return both streams in order of arrival, at most the last 64 KiB."""
        text = _text(self._both)
        return text if len(text) <= _LONGEST_ERROR else f"[...]{text[-_LONGEST_ERROR:]}"


def _text(data: bytearray) -> str:
    return data.decode(errors="replace")
