"""Progress of a run, as lines for the user."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workloads.engines.base import StepState
from workloads.engines.kubeflow.metadata_pb2 import Execution
from workloads.engines.kubeflow.run_graph import STATES, RunGraph, seconds


class RunProgress:
    """Log with one line for the start of each step, for its end, and for each step that a condition skips."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._logged_states: dict[int, int] = {}

    def update(self, graph: RunGraph) -> None:
        """Log the changes since the last call."""
        for execution in graph.executions:
            state = execution.last_known_state
            if self._logged_states.get(execution.id) != state:
                for line in _lines(graph, execution):
                    self._log(line)
                self._logged_states[execution.id] = state


def _lines(graph: RunGraph, execution: Execution) -> Iterator[str]:
    name, state = graph.step_name(execution), execution.last_known_state
    if state == Execution.CANCELED:
        component = graph.component(execution)
        skipped = [name] if graph.is_step(execution) else graph.steps_below(component)
        yield from (f"{step}: {StepState.SKIPPED}" for step in skipped)
    elif graph.is_step(execution):
        yield f"{name}: {STATES[state]} in {seconds(execution)} s" if state in STATES else f"{name}: started"
