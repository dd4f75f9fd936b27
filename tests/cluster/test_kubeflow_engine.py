"""The engine `kubeflow` with Kubeflow Pipelines in a cluster."""

from __future__ import annotations

import hashlib
import json
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlplatform.engine_config import KubeflowEngineConfig
from mlplatform.kubeflow import api_server, database, object_store, stores
from mlplatform.kubeflow.deployment_factory import NAMESPACE

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from tests import shards
from tests.waiting import until
from workloads.engines.base import RunRequest, ScheduleRequest
from workloads.engines.kubeflow import run_pods
from workloads.engines.kubeflow.kfp_client import KfpClient
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine
from workloads.engines.kubeflow.kubeflow_package import STEPS_SECRET
from workloads.engines.kubeflow.metadata import MetadataStore
from workloads.engines.kubeflow.run_pods import RUN_LABEL
from workloads.ml import tracking
from workloads.runs.compile import compile_pipeline

from . import pipelines
from .conftest import begin_and_kill, pushed_image, secret

EXPERIMENT = "tests"
SERVERS = {api_server.NAME, stores.METADATA}
STORES = {database.NAME, object_store.NAME}
"""Servers and stores of Kubeflow Pipelines, by the label `app` of their pods."""
IRIS = Path(__file__).parents[2] / "workloads" / "data" / "iris.csv"


@pytest.fixture(scope="module")
def image(api: KubernetesClient, kubeflow_installed: None) -> str:
    return pushed_image(api, NAMESPACE)


@pytest.fixture(scope="module")
def config(
    kubeconfig: str, kubeflow_installed: None, tmp_path_factory: pytest.TempPathFactory
) -> KubeflowEngineConfig[str]:
    return KubeflowEngineConfig(
        kubeconfig=kubeconfig,
        namespace=NAMESPACE,
        api_selector=f"app={api_server.NAME}",
        api_port=api_server.HTTP,
        metadata_selector=f"app={stores.METADATA}",
        metadata_port=stores.METADATA_PORT,
        experiment=EXPERIMENT,
        keep_runs=False,
        directory=str(tmp_path_factory.mktemp("kubeflow")),
    )


@pytest.fixture(scope="module")
def kubeflow(config: KubeflowEngineConfig[str]) -> KubeflowEngine:
    return KubeflowEngine(config)


@pytest.fixture(scope="module")
def server(config: KubeflowEngineConfig[str]) -> Iterator[KfpClient]:
    """Yield a client of Kubeflow Pipelines."""
    with port_forward(PodTarget(config.kubeconfig, NAMESPACE, config.api_selector, config.api_port)) as url:
        yield KfpClient(url)


Make = Callable[..., RunRequest]


@pytest.fixture(scope="module")
def request_for(
    kubeflow: KubeflowEngine,
    image: str,
    tracking_login: dict[str, str],
    tracking_inside: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Make]:
    """Yield a function that returns the request for a run; its versions are deleted after the test."""
    versions: set[str] = set()

    def make(
        pipeline: Any, /, secrets: dict[str, str] | None = None, timeout_minutes: int = 30, **arguments: Any
    ) -> RunRequest:
        if isinstance(pipeline, str):
            name, package = pipeline, compile_pipeline(pipeline, image, 0).ir
        else:
            text = pipelines.package(pipeline, tmp_path_factory.mktemp("package"))
            name, package = pipeline.name, text.replace("image: mlplatform/python-workloads\n", f"image: {image}\n")
        key = uuid.uuid4().hex
        everything = tracking_login | (secrets or {})
        version = kubeflow.upload(name, key[:12], package, sorted(everything), timeout_minutes)
        versions.add(version)
        return RunRequest(
            pipeline=name,
            run_id=f"{name}-{key[:6]}",
            key=key,
            version_id=version,
            arguments=arguments,
            secrets=everything,
            tracking_url=tracking_inside,
            timeout_minutes=timeout_minutes,
        )

    yield make
    for version in versions:
        kubeflow.remove(version)


@pytest.fixture(scope="module")
def metadata(config: KubeflowEngineConfig[str]) -> Iterator[MetadataStore]:
    target = PodTarget(config.kubeconfig, NAMESPACE, config.metadata_selector, config.metadata_port)
    with port_forward(target) as url, MetadataStore(url.removeprefix("http://")) as store:
        yield store


def objects_of(api: KubernetesClient, run_id: str) -> str:
    """Return the text of a run's pods and workflow, and of all ConfigMaps."""
    select = {"label_selector": f"{RUN_LABEL}={run_id}"}
    found = [
        api.core.list_namespaced_pod(NAMESPACE, **select).to_dict(),
        api.core.list_namespaced_config_map(NAMESPACE).to_dict(),
        api.custom.list_namespaced_custom_object("argoproj.io", "v1alpha1", NAMESPACE, "workflows", **select),
    ]
    return json.dumps(found, default=str)


def named(server: KfpClient, run_id: str) -> Any:
    """Return the only run of that name."""
    (run,) = server.list_all(server.runs.run_service_list_runs, "runs", name=run_id)
    return run


def test_classifier_pipeline_compares_two_classifiers(kubeflow: KubeflowEngine, request_for: Make) -> None:
    result = kubeflow.run(request_for("iris-local", seed=0, max_depth=6))
    assert result.state == "SUCCEEDED", result.error
    assert sorted(result.outputs) == ["decision_tree_accuracy", "logistic_regression_accuracy"]
    assert all(0.8 < accuracy <= 1 for accuracy in result.outputs.values())
    assert {step["name"] for step in result.steps} == {
        "download-data",
        "decision-tree",
        "logistic-regression",
        "show-results",
    }


@pytest.mark.parametrize(("baseline", "deployed"), [(0.5, True), (1.0, False)])
def test_gate_deploys_or_rejects_a_model(
    kubeflow: KubeflowEngine, request_for: Make, tracking_url: str, baseline: float, deployed: bool
) -> None:
    model = f"tests-{uuid.uuid4().hex[:8]}"
    request = request_for("iris-external")
    data = f"data:text/csv;base64,{b64encode(IRIS.read_bytes()).decode()}"
    own = {"run_key": request.run_id, "tracking_url": request.tracking_url}
    arguments = {"data_url": data, "baseline": baseline, "model_name": model, "trees": 20, **own}
    result = kubeflow.run(replace(request, arguments=arguments))
    assert result.state == "SUCCEEDED", result.error
    outputs = result.outputs
    assert (outputs["deployed"], outputs["version"]) == ((True, "1") if deployed else (False, ""))
    assert outputs["accuracy"] > 0.8
    last = result.steps[-1]["name"]
    assert last == ("deploy-model" if deployed else "keep-model")
    artifacts = {a["name"]: a for step in result.steps for a in step["artifacts"]}
    assert artifacts["metrics"]["type"] == "system.Metrics"
    assert artifacts["metrics"]["metadata"]["accuracy"] == pytest.approx(outputs["accuracy"])
    assert artifacts["model"]["uri"].startswith("minio://")
    if deployed:
        mlflow = tracking.client(tracking_url)
        assert mlflow.get_model_version_by_alias(model, "champion").version == "1"
        mlflow.delete_registered_model(model)


def test_run_failing_step_is_named_with_its_last_lines(kubeflow: KubeflowEngine, request_for: Make) -> None:
    result = kubeflow.run(request_for(pipelines.failing, value=4))
    assert (result.state, result.failed_step) == ("FAILED", "fail")
    assert result.error.splitlines()[-1] == "ValueError: 8 is no good"
    assert [step["state"] for step in result.steps][-1] == "FAILED"
    assert "fail: ValueError: 8 is no good" in Path(result.log).read_text()


def test_upload_same_version_twice_creates_one(
    kubeflow: KubeflowEngine, server: KfpClient, image: str, tmp_path: Path
) -> None:
    package = pipelines.package(pipelines.slow, tmp_path).replace("mlplatform/python-workloads", image)
    version = kubeflow.upload("once", "a", package, [], 10)
    assert kubeflow.upload("once", "b", package, [], 10) == version
    kubeflow.remove(version)
    kubeflow.remove(version)
    found = server.call(server.pipelines.pipeline_service_get_pipeline_by_name, "once", allowed_status=404)
    assert found is None


def test_run_cached_step_is_not_run_again(api: KubernetesClient, kubeflow: KubeflowEngine, request_for: Make) -> None:
    value = uuid.uuid4().int % 1_000_000
    first = kubeflow.run(request_for(pipelines.doubling, value=value))
    again = kubeflow.run(request_for(pipelines.doubling, value=value))
    assert first.outputs == again.outputs == {"Output": 2 * value}
    assert type(again.outputs["Output"]) is int
    assert [step["state"] for step in (*first.steps, *again.steps)] == ["SUCCEEDED", "CACHED"]
    assert f"double: doubling {value}" in Path(first.log).read_text()


def test_run_parallel_loop_collects_all_results(kubeflow: KubeflowEngine, request_for: Make) -> None:
    result = kubeflow.run(request_for(pipelines.measuring_all, texts=["one", "a", "to"]))
    assert result.outputs == {"Output": [3, 1, 2]}, result.error


def test_batch_predict_shards_run_on_all_workers_and_a_lost_one_runs_again_alone(
    api: KubernetesClient,
    kubeflow: KubeflowEngine,
    request_for: Make,
    bucket: str,
    predictions: tuple[str, dict[str, str]],
    tracking_inside: str,
) -> None:
    version, expected = predictions
    arguments = shards.arguments(tracking_inside, version, f"kubeflow-{uuid.uuid4().hex[:8]}")
    request = request_for("batch-predict", secrets=shards.login(bucket), **arguments)
    started: dict[str, Any] = {}

    def shards_started() -> int:
        found = api.core.list_namespaced_pod(NAMESPACE, label_selector="workflows.argoproj.io/workflow").items
        own = [pod for pod in found if pod.status.phase == "Running" and "comp-score-file" in str(pod.spec.containers)]
        started.update({pod.metadata.name: pod for pod in own if "--execution_id" in str(pod.spec.containers)})
        return len(started)

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(kubeflow.run, request)
        until(lambda: running.done() or shards_started() == shards.SHARDS, seconds=300)
        api.core.delete_namespaced_pod(min(started), NAMESPACE, grace_period_seconds=0)
        until(lambda: running.done() or shards_started() == shards.SHARDS + 1, seconds=300)
        result = running.result(timeout=900)
    assert (result.error, result.outputs["rows"]) == ("", shards.SHARDS * shards.ROWS)
    assert shards.digests_of_store(bucket, arguments["destination"].split("/")[3]) == expected
    assert {pod.spec.node_name for pod in started.values()} == shards.workers(api)


def test_run_secrets_reach_only_the_steps(
    api: KubernetesClient, kubeflow: KubeflowEngine, server: KfpClient, request_for: Make
) -> None:
    value = uuid.uuid4().hex
    request = request_for(pipelines.probing, secrets={"A_SECRET": value})
    result = kubeflow.run(request)
    found = json.loads(result.outputs["Output"])
    assert found.pop("secret") == hashlib.sha256(value.encode()).hexdigest()
    assert (found["user"] != 0, found["writes_root"]) == (True, False)
    assert secret(api, NAMESPACE, STEPS_SECRET)["A_SECRET"] == value
    run = named(server, request.run_id)
    version = server.call(server.pipelines.pipeline_service_get_pipeline_version, *request.version_id.split("/"))
    everything = [objects_of(api, run.run_id), str(run), str(version), Path(result.log).read_text()]
    assert [text for text in everything if value in text] == []
    marks = [each.metadata.name for each in api.core.list_namespaced_config_map(NAMESPACE).items]
    assert [name for name in marks if name.startswith("run-probing-")] == []  # no `up` follows the run


def test_run_interrupted_up_is_resumed_and_not_restarted(
    kubeflow: KubeflowEngine, server: KfpClient, config: KubeflowEngineConfig[str], request_for: Make
) -> None:
    request = request_for(pipelines.slow, seconds=45, value=uuid.uuid4().int % 1_000_000)
    runs = server.runs.run_service_list_runs
    begin_and_kill(config, request, lambda: server.list_all(runs, "runs", name=request.run_id))
    assert kubeflow.find_resumable_run(request.pipeline, request.key) == request.run_id
    result = kubeflow.run(request)
    assert result.outputs == {"Output": request.arguments["value"]}, result.error
    assert named(server, request.run_id).state == "SUCCEEDED"
    assert kubeflow.find_resumable_run(request.pipeline, request.key) is None


@pytest.mark.parametrize(
    ("pipeline", "seconds", "parts", "factor"),
    [
        pytest.param(pipelines.slow, 30, SERVERS, 1, id="servers"),
        pytest.param(pipelines.slow_then_double, 3, STORES, 2, id="stores"),
        # A step that starts or ends during the restart succeeds at its second attempt.
        pytest.param(pipelines.slow_and_patient, 30, SERVERS | STORES, 1, id="all, where a step is tried again"),
    ],
)
def test_run_survives_restarts_of_kubeflow_pipelines(
    api: KubernetesClient,
    kubeflow: KubeflowEngine,
    config: KubeflowEngineConfig[str],
    request_for: Make,
    pipeline: Any,
    seconds: int,
    parts: set[str],
    factor: int,
) -> None:
    request = request_for(pipeline, seconds=seconds, value=uuid.uuid4().int % 1_000_000)
    log = Path(config.directory) / "runs" / request.run_id / "run.log"
    select = {"label_selector": f"app in ({', '.join(sorted(parts))})"}
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(kubeflow.run, request)
        until(lambda: log.is_file() and "Looking for component" in log.read_text(), seconds=180)
        found = api.core.list_namespaced_pod(NAMESPACE, **select).items
        assert sorted(pod.metadata.labels["app"] for pod in found) == sorted(parts)
        api.core.delete_collection_namespaced_pod(NAMESPACE, **select)
        result = running.result(timeout=600)
    assert (result.error, result.outputs) == ("", {"Output": factor * request.arguments["value"]})


def test_run_over_its_timeout_fails_with_the_reason(kubeflow: KubeflowEngine, request_for: Make) -> None:
    request = request_for(pipelines.slow, timeout_minutes=1, seconds=600, value=uuid.uuid4().int % 1_000_000)
    result = kubeflow.run(request)
    assert (result.state, result.failed_step) == ("FAILED", "sleep")
    assert "the run exceeded its timeout of 1 minutes and was stopped" in result.error


def test_run_unpullable_image_is_named(
    kubeflow: KubeflowEngine,
    server: KfpClient,
    config: KubeflowEngineConfig[str],
    image: str,
    request_for: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(run_pods, "PENDING_SECONDS", 20)
    request = request_for(pipelines.doubling, value=uuid.uuid4().int % 1_000_000)
    missing = f"{image.partition('/')[0]}/mlplatform/no-such-image:1"
    package = pipelines.package(pipelines.doubling, tmp_path).replace("mlplatform/python-workloads", missing)
    version = kubeflow.upload("double", "x", package, [], 10)
    try:
        with pytest.raises(UserError, match=r"was stopped: .*no-such-image"):
            kubeflow.run(replace(request, version_id=version))
    finally:
        kubeflow.remove(version)


def test_schedule_starts_runs_with_their_own_id_until_deleted(
    kubeflow: KubeflowEngine,
    server: KfpClient,
    metadata: MetadataStore,
    image: str,
    request_for: Make,
) -> None:
    request = request_for(pipelines.naming)
    arguments = {"run_key": kubeflow.scheduled_run_id}
    for cron in ("0 0 0 1 1 *", "*/20 * * * * *"):
        kubeflow.schedule(ScheduleRequest("naming", request.version_id, cron, arguments, request.secrets))
    recurring = server.list_all(server.recurring_runs.recurring_run_service_list_recurring_runs, "recurring_runs")
    (mine,) = [each for each in recurring if each.display_name == "naming"]

    def finished() -> list[Any]:
        runs = server.list_all(server.runs.run_service_list_runs, "runs")
        return [run for run in runs if run.recurring_run_id == mine.recurring_run_id and run.state == "SUCCEEDED"]

    try:
        run = until(finished, seconds=300)[0]
    finally:
        kubeflow.unschedule("naming")
    (step,) = [
        execution
        for execution in metadata.executions(run.run_id)
        if execution.custom_properties["task_name"].string_value == "write"
    ]
    given = step.custom_properties["inputs"].struct_value
    assert given["text"] == run.run_id
    left = server.list_all(server.recurring_runs.recurring_run_service_list_recurring_runs, "recurring_runs")
    assert [each for each in left if each.display_name == "naming"] == []
