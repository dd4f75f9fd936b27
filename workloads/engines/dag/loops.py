"""Loops of a run that another program than the runner of the run may execute."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from workloads.engines.base import StepState
from workloads.engines.dag.run_log import RunLog
from workloads.engines.dag.step_runner import Outputs


@dataclass(frozen=True)
class TaskResult:
    """Result of a task. A task that never started, because another task failed, has FAILED, too."""

    state: StepState
    outputs: Outputs = field(default_factory=Outputs)


@dataclass(frozen=True)
class Loop:
    """Loop whose iterations exchange only parameters with the rest of the pipeline.

    Args:
        component: the label of the loop's component in the package.
        pipelines: the names of the tasks around it that are pipelines.
        iterations: the input parameters of each iteration.
        parallel: the number of iterations that run at the same time, at most; 0 without a limit.
    """

    component: str
    pipelines: tuple[str, ...]
    iterations: list[dict[str, Any]]
    parallel: int


class LoopRunner(Protocol):
    """Runner of whole loops outside this process."""

    async def run(self, loop: Loop, log: RunLog) -> list[TaskResult]:
        """Run all iterations, add their steps to the log, and return the result of each."""
