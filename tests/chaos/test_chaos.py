"""A lab under load through faults that a seed determines; see docs/reference/faults.md.

`make test-chaos` sets the variables SEED, MINUTES, RATE and CONTROL_PLANES.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from settings.machines.lab_settings import LabSettings, machine_positions
from tests.harness import Stack, changes
from tests.lab.cluster import Cluster
from tests.lab.conftest import cluster_of
from tests.lab.stacks import lab_stacks
from tests.lab.stores.mlflow_writer import Writer, mlflow_writer
from tools.cli.rehearsal.availability import WatchedService, outages, watched
from tools.cli.rehearsal.watched_stack import PredictionLoad, loaded, service_requests

from .fault_plan import Fault, plan_faults
from .faults import inject, small_disk
from .pipeline_runs import PipelineRuns, running_pipelines
from .readiness import wait_until_ready
from .timeline import Event, timeline

FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
SERVED = "iris-external"
"""The pipeline of the served model. Its runs are not those that go on through the faults."""
WORKERS = 2
DEFAULTS = {"MINUTES": 10, "RATE": 500, "CONTROL_PLANES": 1}


def number(variable: str) -> int:
    """Return a variable of `make test-chaos`."""
    text = os.environ.get(variable) or str(DEFAULTS[variable])
    if not text.isdecimal() or int(text) == 0:
        pytest.exit(f"{variable}={text}: a whole number from 1 is needed, as in {variable}={DEFAULTS[variable]}", 2)
    return int(text)


def seed() -> int:
    text = os.environ.get("SEED") or str(random.SystemRandom().randrange(10**6))
    if not text.isdecimal():
        pytest.exit(f"SEED={text}: a whole number is needed, such as the one that an earlier run printed", 2)
    return int(text)


@dataclass
class Run:
    """A run of `make test-chaos`."""

    seed: int
    seconds: int
    machines: Sequence[str]
    events: list[Event] = field(default_factory=list)
    begin: float = 0.0
    end: float = 0.0

    @property
    def small_disk(self) -> str:
        """The machine with a disk that can become full."""
        return random.Random(self.seed).choice(self.machines)

    def inject_all(self, stack: Stack, cluster: Cluster, tell: Callable[[str], None]) -> None:
        """Let the faults happen that fit into the time, each after the recovery from the one before."""
        self.begin = time.time()
        try:
            self._inject_in_time(stack, cluster, tell)
        finally:
            self.end = time.time()

    def _inject_in_time(self, stack: Stack, cluster: Cluster, tell: Callable[[str], None]) -> None:
        for fault in plan_faults(self.seed, self.seconds, self.machines, self.small_disk):
            time.sleep(max(0.0, self.begin + fault.begin - time.time()))
            if time.time() + fault.seconds > self.begin + self.seconds:
                tell(f"no time is left for {fault} and later faults")
                return
            tell(f"{fault}: everything was Ready after {self._inject(stack, cluster, fault):.0f} s")

    def _inject(self, stack: Stack, cluster: Cluster, fault: Fault) -> float:
        """Let a fault happen, and return the seconds of the recovery."""
        begin = time.time()
        ready_after: float | None = None
        try:
            with inject(stack, cluster, fault):
                time.sleep(fault.seconds)
            ready_after = wait_until_ready(cluster)
            return ready_after
        finally:
            self.events.append(Event(fault, begin, ready_after))

    def report(
        self, load: PredictionLoad, services: Sequence[WatchedService], writer: Writer, runs: PipelineRuns
    ) -> Iterator[str]:
        """Yield the lines of the report."""
        seconds = self.end - self.begin
        found = {"predictions": load.outages, **{each.name: each.outages() for each in services}}
        found["writes"] = list(outages(writer.times, self.begin, self.end))
        yield f"seed {self.seed}, {len(self.events)} faults in {seconds:.0f} s"
        yield from timeline(self.events, self.begin, self.end, load.failures, found)
        figures = {name: value for name, value in load.report.items() if name not in ("failures", "outages")}
        yield f"predictions: {figures}, about {load.report['sent'] / seconds:.0f}/s sent"
        yield f"MLflow: {len(writer.files)} runs with metric and file acknowledged, {writer.failures} writes refused"
        yield f"pipelines: {len(runs.states)} runs, {runs.resumed} resumed, wrong or failed: {runs.wrong or 'none'}"


@pytest.fixture(scope="module")
def run() -> Run:
    planes = number("CONTROL_PLANES")
    settings = LabSettings.model_validate({"size": planes + WORKERS, "control_planes": planes})
    return Run(seed(), 60 * number("MINUTES"), [name for name, _, _ in machine_positions(settings)])


@pytest.fixture(scope="module")
def stack(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    planes = number("CONTROL_PLANES")
    with ExitStack() as disks, lab_stacks(tmp_path_factory) as make:
        stack = make("chaos")
        stack.settings["infra:lab"] |= {"size": planes + WORKERS, "control_planes": planes}
        stack.settings["platform:stores"] = "replicated"
        del stack.settings["platform:monitoring"]
        pipelines = stack.settings["workloads:pipelines"]
        stack.settings["workloads:pipelines"] = {SERVED: pipelines[SERVED]}
        disks.enter_context(small_disk(stack, run.small_disk))
        stack.up()
        yield stack


def test_chaos_loses_no_acknowledged_write_and_heals_without_a_hand(
    run: Run, stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}", end="", flush=True)

    tell(f"SEED={run.seed} repeats this run; {run.small_disk} has a small disk")
    cluster = cluster_of(stack, tmp_path)
    outputs = stack.outputs("--show-secrets")
    wait_until_ready(cluster)
    with mlflow_writer(stack) as writer:
        with (
            running_pipelines(outputs, tmp_path) as runs,
            watched(service_requests(outputs)) as services,
            loaded(outputs["score_url"], FLOWER, "class_index", number("RATE")) as load,
        ):
            failure: Exception | None = None
            try:
                run.inject_all(stack, cluster, tell)
            except Exception as error:  # the report comes first
                failure = error
        writer.stop()
        for line in run.report(load, services, writer, runs):
            tell(line)
        if failure:
            raise failure
        lost = writer.lost()
        tell(f"{len(lost)} of {3 * len(writer.files)} acknowledged writes are lost")
        assert lost == []
    assert [state for state in runs.wrong if " returned " in state] == []
    assert set(changes(stack.up())) == {"unchanged"}
