"""The progress of long steps: a live line on a terminal, a line every 30 s elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from types import TracebackType
from typing import Self, TextIO

from airgap.bundle.durations import computer_durations, format_duration, format_elapsed

LOG_INTERVAL_SECONDS = 30
REFRESH_SECONDS = 1
DEFAULT_COLUMNS = 80
ERASE_LINE = "\r\033[K"


class Progress:
    """The progress of one step, with the time that it takes and took in its last run on this computer.

    As a context manager, it refreshes its line on a terminal each second.

    Args:
        title: such as `[3/14] etcd v3.6.5`.
        step: the name of the step in the recorded durations.
        output: the terminal or log; standard error by default.
    """

    def __init__(self, title: str, step: str, output: TextIO | None = None) -> None:
        self.title = title
        self._step = step
        self._output = output or sys.stderr
        self._live = self._output.isatty()
        self._durations = computer_durations()
        self._expected = self._durations.expected(step)
        self._start = self._last_line = time.monotonic()
        self._activity = ""
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._live:
            threading.Thread(target=self._refresh, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            if self._live and not self._ended.is_set():
                self._write("\n")  # the error follows on the next line
            self._ended.set()

    def show(self, activity: str) -> None:
        """Show the current activity."""
        with self._lock:
            self._activity = activity
            if self._live:
                self._write(ERASE_LINE + self._line()[: self._columns()])
            elif time.monotonic() - self._last_line >= LOG_INTERVAL_SECONDS:
                self._write(self._line() + "\n")
                self._last_line = time.monotonic()

    def done(self, result: str, *, succeeded: bool = True) -> None:
        """Show the result, and record the duration if the step has succeeded."""
        seconds = time.monotonic() - self._start
        with self._lock:
            self._ended.set()
            self._write(f"{ERASE_LINE if self._live else ''}{self.title}: {result}, {format_duration(seconds)}\n")
        if succeeded:
            self._durations.record({self._step: seconds})

    def _line(self) -> str:
        return f"{self.title}: {self._activity} ({format_elapsed(time.monotonic() - self._start, self._expected)})"

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            self.show(self._activity)

    def _columns(self) -> int:
        columns = os.get_terminal_size(self._output.fileno()).columns  # 0 if the terminal does not know it
        return (columns or DEFAULT_COLUMNS) - 1

    def _write(self, text: str) -> None:
        self._output.write(text)
        self._output.flush()
