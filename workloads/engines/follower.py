"""The log of a run as a pod writes it, read in pieces."""

from __future__ import annotations

import re
import time
from collections import deque
from typing import Any, TextIO

import pulumi

from workloads.engines import pod

STEP_ENDED = re.compile(r"[\w-]+: (SUCCEEDED|FAILED) in [\d.]+ s$")
TIME = re.compile(r"(.{19})(?:\.(\d+))?")
LAST_LINES = 10
OVERLAP_SECONDS = 10


class Follower:
    """Writes each line of a run's log to a file once, tells the user of the steps, and finds the result.

    A run whose pod was lost begins again in another pod, and so does its log.
    """

    def __init__(self, pipeline: str, out: TextIO) -> None:
        self.result: dict[str, Any] | None = None
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._pipeline = pipeline
        self._out = out
        self._pod = ""
        self._latest = ""
        self._read_at = 0.0

    def since(self, pod: str) -> int | None:
        """How many seconds of this pod's log to read; None for all of it."""
        return round(time.monotonic() - self._read_at) + OVERLAP_SECONDS if pod == self._pod else None

    def read(self, name: str, text: str) -> None:
        """Take a piece of that pod's log, each line after its time; what came before is skipped."""
        if name != self._pod:
            self._pod, self._latest = name, ""
            self.last.clear()
        self._read_at = time.monotonic()
        for line in text.splitlines():
            time_text, _, said = line.partition(" ")
            if (at := _sortable(time_text)) > self._latest:
                self._latest = at
                self._on_line(said)
        self._out.flush()

    def _on_line(self, line: str) -> None:
        if line.startswith(pod.MARK):
            self.result = pod.decoded(line)
            return
        self._out.write(f"{line}\n")
        self.last.append(line)
        if STEP_ENDED.match(line):
            pulumi.log.info(f"{self._pipeline}: {line}")


def _sortable(at: str) -> str:
    """A time of RFC 3339 with all nine digits of a second's fraction, of which the API server leaves out zeros."""
    found = TIME.match(at)
    return f"{found[1]}.{(found[2] or '').ljust(9, '0')}" if found else ""
