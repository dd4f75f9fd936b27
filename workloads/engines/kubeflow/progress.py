"""What the user is told while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from workloads.engines.kubeflow.metadata_pb2 import Execution
from workloads.engines.kubeflow.run_graph import STATES, RunGraph, seconds


class Progress:
    """Tells of each step once when it begins and once when it ends, and of the steps that a condition leaves out."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._seen: dict[int, int] = {}

    def update(self, record: RunGraph) -> None:
        for execution in record.executions:
            state = execution.last_known_state
            if self._seen.get(execution.id) != state:
                for line in _news(record, execution):
                    self._tell(line)
                self._seen[execution.id] = state


def _news(record: RunGraph, execution: Execution) -> Iterator[str]:
    name, state = record.name(execution), execution.last_known_state
    if state == Execution.CANCELED:
        component = record.component(execution)
        skipped = [name] if record.is_step(execution) else record.steps_below(component)
        yield from (f"{step}: SKIPPED" for step in skipped)
    elif record.is_step(execution):
        yield f"{name}: {STATES[state]} in {seconds(execution)} s" if state in STATES else f"{name}: started"
