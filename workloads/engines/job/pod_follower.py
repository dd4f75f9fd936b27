"""Log of a run, copied while its pod writes it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from typing import Any, TextIO

from infra.kubernetes_client.pod_logs import PodLog
from workloads.engines.pod_dask import DASK_PREFIX, DaskPods
from workloads.engines.pod_entrypoint import RESULT_PREFIX, decode_result
from workloads.engines.pod_loops import LOOP_PREFIX, LoopPods
from workloads.engines.step_progress import STARTED, StepProgress

LAST_LINES = 10


class PodFollower:
    """Copy of a run's log to `out` and to the progress of the run.

    A run whose pod is lost starts again in a new pod with a new log.

    Attributes:
        result: the result of the run; None until the log contains it.
        loops: the loops for which the run needs other pods, by id.
        dask: the workers that the run needs; None without any.
        step: the step that started last; "" before the first one.
        last_lines: the last lines of the current pod's log.
    """

    def __init__(self, progress: StepProgress, out: TextIO) -> None:
        self.result: dict[str, Any] | None = None
        self.loops: dict[str, LoopPods] = {}
        self.dask: DaskPods | None = None
        self.step = ""
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._progress = progress
        self._out = out
        self._pod = ""
        self._log = PodLog()

    def log_of(self, pod: str) -> PodLog:
        """Return the log of a pod, which continues after the last line that was read."""
        if pod != self._pod:
            self._pod, self._log = pod, PodLog()
            self.last_lines.clear()
        return self._log

    def process(self, lines: Iterable[str]) -> None:
        """Copy lines of the log."""
        for line in lines:
            self._process_line(line)
        self._out.flush()

    def _process_line(self, line: str) -> None:
        if line.startswith(RESULT_PREFIX):
            self.result = decode_result(line)
            return
        if line.startswith(DASK_PREFIX):
            self.dask = DaskPods(**json.loads(line.removeprefix(DASK_PREFIX)))
            return
        if line.startswith(LOOP_PREFIX):
            loop = LoopPods(**json.loads(line.removeprefix(LOOP_PREFIX)))
            self.loops[loop.loop] = loop
            return
        if started := STARTED.match(line):
            self.step = started[1]
        self._out.write(f"{line}\n")
        self.last_lines.append(line)
        self._progress.read(line)
