"""Loops of a run in a pod: each iteration runs in another pod, so that iterations are spread over all workers.

The pods exchange files in the artifacts of the MLflow run: `loops/<id>/loop.json`, and the result of each iteration in
`loops/<id>/<index>.json`. Pods have no rights in the cluster: a line of the log requests the other pods, and the engine
creates them.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workloads.engines.base import StepState
from workloads.engines.dag.loops import Loop, TaskResult
from workloads.engines.dag.run_log import RunLog, Step
from workloads.engines.dag.step_runner import Outputs
from workloads.ml import tracking

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")
LOOP_PREFIX = "mlplatform-loop:"
ID_CHARACTERS = 8
MAX_PODS = 50
"""Pods of one loop that run at the same time, at most."""
POLL_SECONDS = 2
TRACKING_SECONDS = 120
"""Timeout for MLflow: its pod moves to another node when its node fails."""
RETRY_SECONDS = 5


@dataclass(frozen=True)
class LoopPods:
    """Request for pods.

    Args:
        loop: the id of the loop: a digest of its run and iterations.
        pods: the number of iterations; each has a pod.
        parallel: the number of pods that run at the same time, at most.
    """

    loop: str
    pods: int
    parallel: int


class PodLoops:
    """Loops of one run.

    Args:
        url: the address of MLflow.
        pipeline: the name of the pipeline.
        run_id: the id of the run.
    """

    def __init__(self, url: str, pipeline: str, run_id: str) -> None:
        self._url, self._pipeline, self._run_id = url, pipeline, run_id

    async def run(self, loop: Loop, log: RunLog) -> list[TaskResult]:
        """Run each iteration in another pod, add its steps to the log, and return the results."""
        given = json.dumps(asdict(loop))
        request = LoopPods(
            loop=sha256(f"{self._run_id} {given}".encode()).hexdigest()[:ID_CHARACTERS],
            pods=len(loop.iterations),
            parallel=min(loop.parallel or MAX_PODS, len(loop.iterations), MAX_PODS),
        )
        mlflow, run = self._mlflow, self.mlflow_run  # a thread must not be the first that imports MLflow
        file = f"{_folder(request.loop)}/loop.json"
        await asyncio.to_thread(persist, self._url, lambda: mlflow.log_text(run, given, file))
        print(f"{LOOP_PREFIX}{json.dumps(asdict(request))}", flush=True)
        results: dict[int, dict[str, Any]] = {}
        while len(results) < request.pods:
            await asyncio.sleep(POLL_SECONDS)
            results |= await asyncio.to_thread(persist, self._url, partial(self._new_results, request.loop, results))
        return [_task_result(results[index], log) for index in range(request.pods)]

    def read(self, loop: str) -> Loop:
        """Return a requested loop."""
        given = persist(self._url, lambda: self._read(f"{_folder(loop)}/loop.json"))
        return Loop(**{**given, "pipelines": tuple(given["pipelines"])})

    def write_result(self, loop: str, index: int, result: dict[str, Any]) -> None:
        """Store the result of an iteration: that of `kfp_runner.run_package`."""
        text = json.dumps(result)
        persist(self._url, lambda: self._mlflow.log_text(self.mlflow_run, text, f"{_folder(loop)}/{index}.json"))

    @cached_property
    def _mlflow(self) -> MlflowClient:
        return tracking.client(self._url)

    @cached_property
    def mlflow_run(self) -> str:
        """Return the id of the MLflow run."""
        return persist(
            self._url,
            lambda: str(tracking.find_or_create_run(self._mlflow, self._pipeline, self._run_id).info.run_id),
        )

    def _new_results(self, loop: str, known: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        found = {}
        for file in self._mlflow.list_artifacts(self.mlflow_run, _folder(loop)):
            name = Path(file.path).stem
            if name.isdigit() and int(name) not in known:
                found[int(name)] = self._read(file.path)
        return found

    def _read(self, path: str) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            content = Path(self._mlflow.download_artifacts(self.mlflow_run, path, folder)).read_text()
        read: dict[str, Any] = json.loads(content)
        return read


def persist(url: str, call: Callable[[], T]) -> T:
    """Return the result of a request to MLflow, repeated while it fails, for up to two minutes."""
    deadline = time.monotonic() + TRACKING_SECONDS
    while True:
        try:
            return call()
        except Exception as error:  # MLflow's client raises many types; a retry may save the result
            if time.monotonic() > deadline:
                raise
            print(f"a request to {url} failed, next attempt in {RETRY_SECONDS} s: {error}", flush=True)
            time.sleep(RETRY_SECONDS)


def _folder(loop: str) -> str:
    return f"loops/{loop}"


def _task_result(result: dict[str, Any], log: RunLog) -> TaskResult:
    log.steps.extend(Step(**{**step, "state": StepState(step["state"])}) for step in result["steps"])
    if result["failed_step"] or result["error"]:
        log.fail(result["failed_step"], result["error"])
    return TaskResult(StepState(result["state"]), Outputs(result["outputs"]))
