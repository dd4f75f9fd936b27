"""Workers of Dask in a cluster: data that are larger than the memory of one pod, and the loss of a worker."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlplatform import job_namespace
from pyarrow import parquet

from infra.kubernetes_client.client import KubernetesClient
from tests import shards
from tests.store_servers import s3_client
from tests.waiting import until
from workloads.engines.job.job_engine import JobEngine
from workloads.ml import model_registry
from workloads.pipelines import load_pipeline

FILES, ROWS, FEATURES = 12, 1_000_000, 20
WORKERS, MEMORY = 5, "1Gi"
"""The numbers of all files have 1.9 GB, almost twice the memory of a worker."""


@pytest.fixture(scope="module")
def wide(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of a folder of Parquet files in the store."""
    file = tmp_path_factory.mktemp("wide") / "part.parquet"
    names = [f"x{index}" for index in range(FEATURES)]
    client = s3_client(bucket)
    for number in range(FILES):
        random = np.random.default_rng(number)
        rows = random.integers(-100, 100, (ROWS, FEATURES)) / 100
        kinds = np.where(rows[:, 0] + rows[:, 1] * rows[:, 2] > 0.1, "yes", "no")
        parquet.write_table(pa.table([*rows.T, pa.array(kinds)], names=[*names, "kind"]), file)
        client.upload_file(str(file), shards.BUCKET, f"wide/{number}.parquet")
        file.unlink()
    yield f"s3://{shards.BUCKET}/wide/"
    for number in range(FILES):
        client.delete_object(Bucket=shards.BUCKET, Key=f"wide/{number}.parquet")


def test_training_on_data_beyond_a_pod_survives_the_loss_of_a_worker(
    api: KubernetesClient,
    engine: JobEngine,
    request_for: Any,
    bucket: str,
    wide: str,
    tracking_inside: str,
    tracking_url: str,
) -> None:
    model = f"wide-{uuid.uuid4().hex[:6]}"
    request = request_for(
        load_pipeline("iris-external"),
        secrets=shards.login(bucket),
        tracking_url=tracking_inside,
        data_url=wide,
        target="kind",
        model_name=model,
        estimator="XGBClassifier",
        parameters={"n_estimators": 20},
        dask={"workers": WORKERS, "memory": MEMORY},
    )
    label = next(f"{key}={value}" for key, value in job_namespace.DASK.items())

    def workers() -> dict[str, Any]:
        found = api.core.list_namespaced_pod(job_namespace.NAMESPACE, label_selector=label).items
        own = [pod for pod in found if "batch.kubernetes.io/job-completion-index" in pod.metadata.labels]
        return {pod.metadata.name: pod for pod in own if pod.status.phase == "Running"}

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(engine.run, request)
        until(lambda: running.done() or len(workers()) == WORKERS, seconds=300)
        started = workers()
        log = Path(engine.runs) / request.run_id / "run.log"
        until(lambda: running.done() or "workers of Dask with" in log.read_text(), seconds=300)
        api.core.delete_namespaced_pod(min(started), job_namespace.NAMESPACE, grace_period_seconds=0)
        until(lambda: running.done() or len(set(workers()) - set(started)) == 1, seconds=300)
        result = running.result(timeout=600)
    assert result.error == ""
    assert result.outputs["accuracy"] > 0.9
    assert {pod.spec.node_name for pod in started.values()} == shards.workers(api)
    limits = {pod.spec.containers[0].resources.limits["memory"] for pod in started.values()}
    assert limits == {MEMORY}
    signature = model_registry.fetch(tracking_url, model, result.outputs["version"]).signature
    assert signature["data"]["rows"] == FILES * ROWS
    assert workers() == {}
