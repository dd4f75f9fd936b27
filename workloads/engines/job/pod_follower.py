"""The log of a run as a pod writes it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from typing import Any, TextIO

import pulumi

from infra.kubernetes_client.pod_logs import PodLog
from workloads.engines import pod_entrypoint

STEP_ENDED = re.compile(r"[\w-]+: (SUCCEEDED|FAILED) in [\d.]+ s$")
LAST_LINES = 10


class Follower:
    """Writes each line of a run's log to a file, tells the user of the steps, and finds the result.

    A run whose pod was lost begins again in another pod, and so does its log.
    """

    def __init__(self, pipeline: str, out: TextIO) -> None:
        self.result: dict[str, Any] | None = None
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self._pipeline = pipeline
        self._out = out
        self._pod = ""
        self._log = PodLog()

    def log_of(self, pod: str) -> PodLog:
        """The log of that pod, to be read on where it was left."""
        if pod != self._pod:
            self._pod, self._log = pod, PodLog()
            self.last.clear()
        return self._log

    def take(self, lines: Iterable[str]) -> None:
        """Take lines of the log."""
        for line in lines:
            self._on_line(line)
        self._out.flush()

    def _on_line(self, line: str) -> None:
        if line.startswith(pod_entrypoint.MARK):
            self.result = pod_entrypoint.decoded(line)
            return
        self._out.write(f"{line}\n")
        self.last.append(line)
        if STEP_ENDED.match(line):
            pulumi.log.info(f"{self._pipeline}: {line}")
