"""The progress of a long build: one changing line on a terminal, a line every 30 s in a log."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from tools.bootstrap.console import log_message

LOG_INTERVAL_SECONDS = 30


def size(count: int) -> str:
    """Format a number of bytes."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


@dataclass
class Progress:
    """The progress of one artifact, titled such as `[3/14] etcd v3.6.5`."""

    title: str
    start: float = field(default_factory=time.monotonic)
    _last_line: float = field(default_factory=time.monotonic)
    _open_line: bool = False

    def show(self, activity: str) -> None:
        """Show the current activity."""
        if sys.stderr.isatty():
            log_message(f"\r\033[K{self.title}: {activity} ({self._elapsed()})", end="")
            self._open_line = True
        elif time.monotonic() - self._last_line >= LOG_INTERVAL_SECONDS:
            log_message(f"{self.title}: {activity} ({self._elapsed()})")
            self._last_line = time.monotonic()

    def done(self, result: str) -> None:
        """Show the result."""
        log_message(f"{chr(13) + chr(27) + '[K' if self._open_line else ''}{self.title}: {result}, {self._elapsed()}")

    def _elapsed(self) -> str:
        seconds = round(time.monotonic() - self.start)
        return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
