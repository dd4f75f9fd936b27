"""The engine `job` in a cluster."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlplatform import job_namespace
from mlplatform.engine_config import JobEngineConfig

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient
from tests import shards
from tests.waiting import until
from workloads.engines.base import RunResult
from workloads.engines.job import loop_jobs
from workloads.engines.job.job_engine import JobEngine
from workloads.ml import tracking
from workloads.pipelines import load_pipeline

from . import pipelines
from .conftest import begin_and_kill


def of_engine(api: KubernetesClient) -> list[Any]:
    """Return the Jobs and secrets of runs."""
    selector = ",".join(f"{key}={value}" for key, value in job_namespace.PODS.items())
    return [
        *api.batch.list_namespaced_job(job_namespace.NAMESPACE, label_selector=selector).items,
        *api.core.list_namespaced_secret(job_namespace.NAMESPACE, label_selector=selector).items,
    ]


def test_job_run_returns_outputs_and_log_and_leaves_no_objects(
    api: KubernetesClient, engine: JobEngine, request_for: Any
) -> None:
    result = engine.run(request := request_for(pipelines.doubling, value=21))
    assert (result.state, result.outputs) == ("SUCCEEDED", {"Output": 42})
    assert [(step["name"], step["state"]) for step in result.steps] == [("double", "SUCCEEDED")]
    assert "doubling 21" in Path(result.log).read_text()
    assert request.key[:16] not in str([each.metadata.name for each in of_engine(api)])


def test_run_failing_step_is_named_with_its_last_lines(engine: JobEngine, request_for: Any) -> None:
    result = engine.run(request_for(pipelines.failing, value=4))
    assert (result.state, result.failed_step) == ("FAILED", "fail")
    assert "ValueError: 8 is no good" in result.error
    assert [step["state"] for step in result.steps] == ["SUCCEEDED", "FAILED"]


def test_upload_same_version_twice_creates_one(api: KubernetesClient, engine: JobEngine, tmp_path: Path) -> None:
    package = pipelines.package(pipelines.doubling, tmp_path)
    name = engine.upload("double", uuid.uuid4().hex[:12], package, [], 10)
    assert engine.upload("double", name.removeprefix("double-"), package, [], 10) == name
    engine.remove(name)
    engine.remove(name)
    assert api.none_if_missing(lambda: api.core.read_namespaced_config_map(name, job_namespace.NAMESPACE)) is None


def test_steps_have_their_secrets_and_no_rights(api: KubernetesClient, engine: JobEngine, request_for: Any) -> None:
    result = engine.run(request_for(pipelines.probing, secrets={"A_SECRET": "a-password"}))
    found = json.loads(result.outputs["Output"])
    assert found == {
        "user": 10001,
        "writes_root": False,
        "token": False,
        "secret": hashlib.sha256(b"a-password").hexdigest(),
        # Kubernetes sets the API server's address in each pod; addresses of other services are disabled.
        "service_variables": ["KUBERNETES_SERVICE_HOST"],
    }


def test_step_files_are_stored_at_addresses_of_the_tracking_server(
    engine: JobEngine, request_for: Any, tracking_url: str
) -> None:
    from mlflow.artifacts import download_artifacts

    request = request_for(pipelines.writing, text="kept for good")
    result = engine.run(request)
    address = result.steps[0]["artifacts"][0]["uri"]
    assert address == result.outputs["Output"]
    assert Path(download_artifacts(address, tracking_uri=tracking_url)).read_text() == "kept for good"
    run = tracking.find_or_create_run(tracking.client(tracking_url), "writing", request.run_id)
    assert run.info.status == "FINISHED"


def test_run_interrupted_up_is_resumed_and_not_restarted(
    api: KubernetesClient, engine: JobEngine, config: JobEngineConfig[str], request_for: Any
) -> None:
    request = request_for(pipelines.slow, seconds=20, value=7)
    begin_and_kill(config, request, lambda: engine.find_resumable_run(request.pipeline, request.key))
    assert engine.find_resumable_run(request.pipeline, request.key) == request.run_id

    def jobs_of_the_run() -> list[str]:
        found = api.batch.list_namespaced_job(job_namespace.NAMESPACE).items
        return [job.metadata.uid for job in found if request.key[:16] in job.metadata.name]

    before = jobs_of_the_run()
    results: list[RunResult] = []
    running = threading.Thread(target=lambda: results.append(engine.run(request)))
    running.start()
    log = Path(config.directory) / "runs" / request.run_id / "run.log"
    until(lambda: log.is_file() and ": started" in log.read_text(), seconds=60)
    during = jobs_of_the_run()
    running.join()
    assert len(before) == 1
    assert during == before
    assert results[0].outputs == {"Output": 7}
    assert engine.find_resumable_run(request.pipeline, request.key) is None


def test_run_unpullable_image_is_named(config: JobEngineConfig[str], request_for: Any, api: KubernetesClient) -> None:
    registry = config.image.partition("/")[0]
    config = replace(config, image=f"{registry}/mlplatform/no-such-image:1")
    request = request_for(pipelines.doubling, value=1)
    with pytest.raises(UserError, match=r"does not start: .*no-such-image"):
        JobEngine(config).run(request)
    assert request.key[:16] not in str([each.metadata.name for each in of_engine(api)])


def test_loop_failing_iteration_is_named_and_the_others_end(engine: JobEngine, request_for: Any) -> None:
    result = engine.run(request_for(pipelines.inverting_all, values=[1, 0, 4]))
    assert (result.state, result.failed_step) == ("FAILED", "invert:1")
    assert "ZeroDivisionError" in result.error
    assert [(step["name"], step["state"]) for step in result.steps] == [
        ("invert:0", "SUCCEEDED"),
        ("invert:1", "FAILED"),
        ("invert:2", "SUCCEEDED"),
    ]


def test_batch_predict_shards_run_on_all_workers_and_a_lost_one_runs_again_alone(
    api: KubernetesClient,
    engine: JobEngine,
    request_for: Any,
    bucket: str,
    predictions: tuple[str, dict[str, str]],
    tracking_inside: str,
) -> None:
    version, expected = predictions
    arguments = shards.arguments(tracking_inside, version, f"job-{uuid.uuid4().hex[:8]}")
    request = request_for(load_pipeline("batch-predict"), secrets=shards.login(bucket), **arguments)
    started: dict[str, Any] = {}

    def shards_started() -> int:
        found = api.core.list_namespaced_pod(job_namespace.NAMESPACE, label_selector=loop_jobs.INDEX).items
        own = [pod for pod in found if request.key[:16] in pod.metadata.name and pod.status.phase == "Running"]
        started.update({pod.metadata.name: pod for pod in own})
        return len(started)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(engine.run, request)
        until(lambda: running.done() or shards_started() == shards.SHARDS, seconds=180)
        lost = min(started)
        api.core.delete_namespaced_pod(lost, job_namespace.NAMESPACE, grace_period_seconds=0)
        until(lambda: running.done() or shards_started() == shards.SHARDS + 1, seconds=180)
        result = running.result(timeout=600)
    assert (result.error, result.outputs["rows"]) == ("", shards.SHARDS * shards.ROWS)
    assert shards.digests_of_store(bucket, arguments["destination"].split("/")[3]) == expected
    assert {pod.spec.node_name for pod in started.values()} == shards.workers(api)
    of_index = Counter(name.rpartition("-")[0] for name in started)
    assert sorted(of_index.values()) == [1, 1, 2]
    assert of_index[lost.rpartition("-")[0]] == 2
    assert [step["name"] for step in result.steps] == [
        "plan-shards",
        *(f"score-file-2:{index}" for index in range(shards.SHARDS)),
        "join-shards",
    ]
