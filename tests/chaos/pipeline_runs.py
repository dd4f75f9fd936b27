"""Runs of a pipeline in a cluster, one after the other."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlplatform import job_namespace, mlflow, mlflow_pod
from mlplatform.engine_config import JobEngineConfig

from infra.errors import UserError
from infra.kubernetes_client.client import KubernetesClient
from tests.cluster import pipelines
from tests.cluster.conftest import pushed_image
from workloads.engines.base import RunRequest, RunState
from workloads.engines.job.job_engine import JobEngine

STEP_SECONDS = 20
"""Duration of a step, so that most faults find one at work."""


@dataclass
class PipelineRuns:
    """Results of runs. A run whose client lost the API server for two minutes is resumed, as the next `up` does."""

    states: list[RunState] = field(default_factory=list)
    resumed: int = 0
    wrong: list[str] = field(default_factory=list)
    """Runs that succeeded with another result than theirs, and failed ones with their reason."""

    def repeat(
        self, engine: JobEngine, version: str, tracking_url: str, secrets: Mapping[str, str], ended: threading.Event
    ) -> None:
        """Start runs until the end."""
        number = 0
        while not ended.is_set():
            number += 1
            arguments = {"seconds": STEP_SECONDS, "value": number}
            key = f"{number:016x}"
            request = RunRequest(
                pipelines.slow_then_double.name,
                f"chaos-{number}",
                version,
                arguments,
                secrets,
                key=key,
                tracking_url=tracking_url,
            )
            self._run(engine, request, number)

    def _run(self, engine: JobEngine, request: RunRequest, number: int) -> None:
        while True:
            try:
                result = engine.run(request)
            except UserError:
                self.resumed += 1
                time.sleep(1)
                continue
            self.states.append(result.state)
            if not result.succeeded:
                self.wrong.append(f"{request.run_id} failed: {result.error[-300:]}")
            elif result.outputs != {"Output": 2 * number}:
                self.wrong.append(f"{request.run_id} returned {result.outputs}")
            return


@contextmanager
def running_pipelines(outputs: Mapping[str, Any], folder: Path) -> Iterator[PipelineRuns]:
    """Run pipelines of the stack with these outputs while the block runs, and wait for the last run."""
    kubeconfig, login = outputs["kubeconfig"], outputs["tracking_login"]
    secrets = {"MLFLOW_TRACKING_USERNAME": login["username"], "MLFLOW_TRACKING_PASSWORD": login["password"]}
    api = KubernetesClient(kubeconfig)
    image = pushed_image(api, job_namespace.NAMESPACE)
    engine = JobEngine(JobEngineConfig(kubeconfig, job_namespace.NAMESPACE, image, str(folder)))
    package = pipelines.package(pipelines.slow_then_double, folder)
    version = engine.upload(pipelines.slow_then_double.name, "chaos", package, list(secrets), 10)
    port = api.core.read_namespaced_service(mlflow_pod.NAME, mlflow.NAMESPACE).spec.ports[0].port
    tracking_url = f"http://{mlflow_pod.NAME}.{mlflow.NAMESPACE}.svc:{port}"
    runs, ended = PipelineRuns(), threading.Event()
    thread = threading.Thread(target=runs.repeat, args=(engine, version, tracking_url, secrets, ended), daemon=True)
    thread.start()
    try:
        yield runs
    finally:
        ended.set()
        thread.join(timeout=120)
    engine.remove(version)
