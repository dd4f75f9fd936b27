"""Progress of the steps of a run for the user, while Pulumi works on its resource."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.resource_status import has_status_lines, log_status, show_status_lines
from workloads.engines.base import RunRequest, StepState

STARTED = re.compile(r"([\w/:.-]+): started$")
ENDED = re.compile(rf"([\w/:.-]+): ({'|'.join(StepState)})(?: in ([\d.]+) s)?$")
REFRESH_SECONDS = 1


class StepProgress:
    """Progress of a run, read from the lines of its log that announce the start and the end of a step.

    On a terminal, each step that runs has a line with its elapsed time. Beside it is its duration in the last run of
    the stack on this computer. In a pipe, the start and the end of each step are messages.

    Args:
        request: the run.
        directory: the folder of the stack on this computer.
    """

    def __init__(self, request: RunRequest, directory: Path) -> None:
        from airgap.bundle.durations import Durations, format_elapsed  # the wheel does not contain the bundle

        self._request = request
        self._format = format_elapsed
        self._durations = Durations(directory / "runs" / "durations.json")
        self._started: dict[str, float] = {}
        self._taken: dict[str, float] = {}
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._request.resource and has_status_lines():
            threading.Thread(target=self._refresh, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        with self._lock:
            self._started.clear()
        self._show_lines()
        if self._taken:
            self._durations.record(self._taken)

    def read(self, line: str) -> None:
        """Read a line of the log."""
        with self._lock:
            if started := STARTED.match(line):
                self._started[started[1]] = time.monotonic()
            elif ended := ENDED.match(line):
                self._started.pop(ended[1], None)
                if ended[2] == StepState.SUCCEEDED and ended[3]:
                    self._taken[self._key(ended[1])] = float(ended[3])
            else:
                return
        if self._request.resource and not has_status_lines():
            log_status(self._request.resource, line)
        self._show_lines()

    def _show_lines(self) -> None:
        if not self._request.resource or not has_status_lines():
            return
        with self._lock:  # also while sending: an old status must not replace a newer one
            show_status_lines(self._request.resource, [self._line(step) for step in self._started])

    def _line(self, step: str) -> str:
        elapsed = self._format(time.monotonic() - self._started[step], self._durations.expected(self._key(step)))
        return f"{self._request.pipeline} {step}: {elapsed}"

    def _key(self, step: str) -> str:
        """Return the name of a step in the recorded durations: one name for all iterations of a loop."""
        return f"{self._request.pipeline} {step.partition(':')[0]}"

    def _refresh(self) -> None:
        while not self._ended.wait(REFRESH_SECONDS):
            self._show_lines()
