"""Log of a run: the lines of its steps, and the state of each step."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, TextIO

from workloads.engines.base import StepState

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
EXECUTOR_PREFIX = "[KFP Executor "
INPUT_DUMP = "Got executor_input:"
ERROR_LINES = 10
NO_MESSAGE = "the step ended without a message"


@dataclass
class Step:
    """Execution of a component; `parameters` and `artifacts` are its outputs."""

    name: str
    state: StepState = StepState.RUNNING
    seconds: float = 0.0
    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)


class StepLog:
    """Log of one execution of a step. Each line is copied to `out` without colours, after the name of the step.

    Attributes:
        step: the state of the step.
    """

    def __init__(self, step: Step, out: TextIO) -> None:
        self.step = step
        self._out = out
        self._lines: deque[str] = deque(maxlen=ERROR_LINES)
        self._in_dump = False
        self._start = time.monotonic()
        self._print("started")

    def write(self, line: str) -> None:
        """Copy a line."""
        line = COLOUR.sub("", line).rstrip()
        self._print(line)
        if line.endswith(INPUT_DUMP):
            self._in_dump = True
            self._lines.clear()
        elif self._in_dump:
            self._in_dump = line != "}"
        elif line and not line.startswith(EXECUTOR_PREFIX):
            self._lines.append(line)

    def end(self, state: StepState) -> None:
        """Record the end of the step."""
        self.step.state, self.step.seconds = state, round(time.monotonic() - self._start, 2)
        self._print(f"{state} in {self.step.seconds} s")

    @property
    def error(self) -> str:
        """Return the last lines of the step itself, without those of kfp's executor."""
        return "\n".join(self._lines or [NO_MESSAGE])

    def _print(self, line: str) -> None:
        self._out.write(f"{self.step.name}: {line}\n")
        self._out.flush()


class RunLog:
    """Steps of a run.

    Attributes:
        steps: the executions of steps, in the order in which they started.
        failed_step: the name of the step that failed first, and did not succeed in a retry; None without one.
        error: the last log lines of that step, or the reason why the run has no steps.
    """

    def __init__(self, out: TextIO) -> None:
        self.steps: list[Step] = []
        self.failed_step: str | None = None
        self.error = ""
        self._out = out

    def start(self, name: str) -> StepLog:
        """Return the log of a new execution of a step."""
        self.steps.append(Step(name))
        return StepLog(self.steps[-1], self._out)

    def fail(self, step: str | None, error: str) -> None:
        """Record a failure; the first one is the failure of the run."""
        if not self.error:
            self.failed_step, self.error = step, error
        if step is None:
            self._out.write(f"{error}\n")
