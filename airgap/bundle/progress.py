"""How a long build is shown: on a terminal as a line that is written over, in a log as a line now and then."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

from tools.bootstrap.console import log_message

SILENCE_SECONDS = 30


def size(count: int) -> str:
    """A number of bytes as a person reads it."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


@dataclass
class Progress:
    """One item of a build, such as `[3/14] etcd v3.6.5`."""

    title: str
    start: float = field(default_factory=time.monotonic)
    _said: float = field(default_factory=time.monotonic)
    _open_line: bool = False

    def show(self, what: str) -> None:
        """Say what is being done now."""
        if sys.stderr.isatty():
            log_message(f"\r\033[K{self.title}: {what} ({self._elapsed()})", end="")
            self._open_line = True
        elif time.monotonic() - self._said >= SILENCE_SECONDS:
            log_message(f"{self.title}: {what} ({self._elapsed()})")
            self._said = time.monotonic()

    def done(self, what: str) -> None:
        """Say how it ended."""
        log_message(f"{chr(13) + chr(27) + '[K' if self._open_line else ''}{self.title}: {what}, {self._elapsed()}")

    def _elapsed(self) -> str:
        seconds = round(time.monotonic() - self.start)
        return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
