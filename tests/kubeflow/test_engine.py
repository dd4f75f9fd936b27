"""Requests of the engine to Kubeflow Pipelines, and results from its responses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlplatform.engine_config import KubeflowEngineConfig

from infra import retry
from infra.dynamic_provider import UserError
from workloads.engines.base import RunRequest, ScheduleRequest
from workloads.engines.kubeflow import run_pods
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine
from workloads.runs.compile import compile_pipeline

from .executions import FakeRun, iris_external
from .stand_in import StandIn

PACKAGE = compile_pipeline("iris-external", "registry.example/workloads:1", 0).ir
SECRETS = {"AZURE_STORAGE_SAS_TOKEN": "c2VjcmV0", "MLFLOW_TRACKING_PASSWORD": "a-password"}
ARGUMENTS = {"baseline": 0.7, "trees": 100, "tracking_url": "http://mlflow", "run_key": "iris-external-1"}


@pytest.fixture
def version(kubeflow: KubeflowEngine) -> str:
    return kubeflow.upload("iris-external", "abc", PACKAGE, sorted(SECRETS), 60)


@pytest.fixture
def request_(version: str) -> RunRequest:
    return RunRequest("iris-external", "iris-external-1", version, ARGUMENTS, SECRETS, "0123456789abcdef" * 4)


def set_run(backend: StandIn, fake_run: FakeRun, *states: str) -> None:
    """Set the executions of a run and its states, one for each request."""
    backend.executions, backend.events, backend.artifacts = fake_run.executions, fake_run.events, fake_run.artifacts
    backend.states = list(states)


def pod(name: str, phase: str = "Succeeded", execution: int | None = None, **status: Any) -> dict[str, Any]:
    words = ["--execution_id", str(execution)] if execution else ["--type", "CONTAINER", "--task_name", "train-model"]
    spec = {"containers": [{"name": "main", "command": ["/var/run/argo/argoexec", "--", "launch", *words]}]}
    metadata = {"name": name, "creationTimestamp": "2026-11-25T10:00:00Z"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, **status}}


def test_upload_of_the_same_package_twice_creates_one_version(
    backend: StandIn, kubeflow: KubeflowEngine, version: str
) -> None:
    assert kubeflow.upload("iris-external", "abc", PACKAGE, sorted(SECRETS), 60) == version
    assert [each["name"] for each in backend.find("pipelines")] == ["iris-external"]
    (stored,) = backend.find("versions")
    assert version == f"{stored['pipeline_id']}/{stored['pipeline_version_id']}"
    assert set(stored["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    other = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    assert other != version
    assert len({each["name"] for each in backend.find("versions")}) == 2


def test_upload_of_a_concurrently_created_pipeline_uses_it(backend: StandIn, kubeflow: KubeflowEngine) -> None:
    existing = backend.store("pipelines", {"name": "iris-external"})
    backend.statuses["GET", "/apis/v2beta1/pipelines/names/iris-external"] = [404]
    backend.statuses["POST", "/apis/v2beta1/pipelines"] = [409]
    version = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    assert version.startswith(existing["pipeline_id"])


def test_run_to_its_end_returns_outputs_steps_and_log_and_deletes_its_marker(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    fake_run = iris_external()
    set_run(backend, fake_run, "PENDING", "RUNNING", "SUCCEEDED")
    backend.pods = [pod("pod-of-driver"), pod("pod-of-test-model", execution=fake_run.executions[3].id)]
    backend.logs = {
        "pod-of-driver": "2026-11-25T10:00:00Z resolved\n",
        "pod-of-test-model": "2026-11-25T10:00:01Z 0.9\n",
    }
    result = kubeflow.run(request_)
    assert (result.state, result.failed_step, result.error) == ("SUCCEEDED", None, "")
    assert result.outputs["version"] == "3"
    assert {each["uri"] for each in result.steps[0]["artifacts"]} == {"minio://bucket/train", "minio://bucket/test"}
    assert Path(result.log).read_text() == "test-model: 0.9\n"
    assert backend.objects["secrets/pipeline-steps"]["stringData"] == SECRETS
    assert [name for name in backend.objects if name.startswith("configmaps/")] == []
    (run,) = backend.find("runs")
    assert run["runtime_config"] == {"parameters": ARGUMENTS}
    assert [each["display_name"] for each in backend.find("experiments")] == ["dev"]


def test_run_and_schedule_with_secrets_send_none_to_kubeflow_pipelines(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    set_run(backend, iris_external(), "SUCCEEDED")
    kubeflow.run(request_)
    kubeflow.schedule(ScheduleRequest("iris-external", request_.version_id, "0 0 3 * * *", ARGUMENTS, SECRETS))
    requests = [*backend.bodies, *(path for _, path in backend.requests)]
    assert [text for text in requests for secret in SECRETS.values() if secret in text] == []


def test_run_with_new_secrets_replaces_the_old_secrets(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    set_run(backend, iris_external(), "SUCCEEDED")
    kubeflow.run(request_)
    kubeflow.run(replace(request_, run_id="another", secrets={"A": "new"}))
    assert backend.objects["secrets/pipeline-steps"]["stringData"] == {"A": "new"}


def test_run_after_a_killed_up_resumes_the_unfinished_run(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    assert kubeflow.find_resumable_run(request_.pipeline, request_.key) is None
    set_run(backend, iris_external(), "RUNNING")
    backend.statuses["GET", "/apis/v2beta1/runs/runs-4"] = [
        400
    ]  # ends `run` after the start of the run, as a killed `up` does
    with pytest.raises(UserError):
        kubeflow.run(request_)
    assert kubeflow.find_resumable_run(request_.pipeline, request_.key) == request_.run_id
    backend.states = ["SUCCEEDED"]
    assert kubeflow.run(request_).succeeded
    assert len(backend.find("runs")) == 1
    assert kubeflow.find_resumable_run(request_.pipeline, request_.key) is None


def test_run_with_other_parameters_after_a_killed_up_stops_the_unfinished_run(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    set_run(backend, iris_external(), "RUNNING")
    backend.statuses["GET", "/apis/v2beta1/runs/runs-4"] = [400]
    with pytest.raises(UserError):
        kubeflow.run(request_)
    del backend.statuses["GET", "/apis/v2beta1/runs/runs-4"]
    other = replace(request_, run_id="iris-external-2", key="f" * 64)
    backend.states = ["RUNNING", "SUCCEEDED"]
    assert kubeflow.run(other).succeeded
    assert ("POST", "/apis/v2beta1/runs/runs-4:terminate") in backend.requests
    assert kubeflow.find_resumable_run(request_.pipeline, request_.key) is None
    assert [name for name in backend.objects if name.startswith("configmaps/")] == []


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_find_resumable_run_of_a_failed_run_returns_none(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest, state: str
) -> None:
    set_run(backend, iris_external(), "RUNNING")
    backend.statuses["GET", "/apis/v2beta1/runs/runs-4"] = [400]
    with pytest.raises(UserError):
        kubeflow.run(request_)
    backend.find("runs")[0]["state"] = state
    assert kubeflow.find_resumable_run(request_.pipeline, request_.key) is None


def test_run_with_a_failed_step_returns_its_name_and_last_lines(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    fake_run = FakeRun()
    root = fake_run.dag()
    fake_run.step("preprocess-data", root)
    failed = fake_run.step("train-model", root, "FAILED")
    set_run(backend, fake_run, "RUNNING", "FAILED")
    killed = {"name": "main", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    status = {"containerStatuses": [{**killed, "ready": False, "restartCount": 0, "image": "", "imageID": ""}]}
    backend.pods = [pod("pod-1", "Failed", failed, **status)]
    backend.logs = {"pod-1": "2026-11-25T10:00:00Z fitting\n2026-11-25T10:00:01Z ValueError: no good\n"}
    backend.message = "child 'iris-external-abc' failed"
    result = kubeflow.run(request_)
    assert (result.state, result.failed_step, result.outputs) == ("FAILED", "train-model", {})
    assert result.error.splitlines() == ["fitting", "ValueError: no good", "OOMKilled with exit code 137"]
    assert kubeflow.find_resumable_run(request_.pipeline, request_.key) is None


def test_run_with_a_failed_driver_returns_the_name_of_its_step(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    fake_run = FakeRun()
    fake_run.dag()
    set_run(backend, fake_run, "FAILED")
    backend.pods = [pod("pod-1", "Failed")]
    backend.logs = {"pod-1": "2026-11-25T10:00:00Z F1125 10:00:00.000001      25 main.go:120] KFP driver: no input\n"}
    result = kubeflow.run(request_)
    assert (result.failed_step, result.error) == ("train-model", "KFP driver: no input")


def test_run_that_argo_stopped_returns_the_message_of_its_workflow(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    set_run(backend, FakeRun(), "FAILED")
    backend.message = "Step exceeded its deadline"
    result = kubeflow.run(request_)
    assert (result.failed_step, result.error) == (None, "Step exceeded its deadline")


def test_run_after_its_timeout_returns_the_timeout_error(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    fake_run = FakeRun()
    fake_run.step("train-model", fake_run.dag(), "RUNNING")
    set_run(backend, fake_run, "FAILED")
    backend.finished_at = "2026-11-25T16:00:00Z"
    result = kubeflow.run(request_)
    assert (result.failed_step, result.error) == (
        "train-model",
        "the run exceeded its timeout of 360 minutes and was stopped",
    )


def test_run_with_a_pod_that_cannot_start_is_stopped_with_the_reason(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    set_run(backend, FakeRun(), "RUNNING")
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image x:1"}}}
    status = {"containerStatuses": [{**waiting, "ready": False, "restartCount": 0, "image": "", "imageID": ""}]}
    backend.pods = [pod("pod-1", "Pending", 2, **status)]
    with pytest.raises(UserError, match="was stopped: ImagePullBackOff: no such image x:1"):
        kubeflow.run(request_)
    assert backend.find("runs")[0]["state"] == "CANCELED"


def test_run_without_a_pod_is_stopped(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pods, "PENDING_SECONDS", 0)
    set_run(backend, FakeRun(), "PENDING")
    with pytest.raises(UserError, match="no pod"):
        kubeflow.run(request_)


def test_run_with_transient_server_errors_retries(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    backend.statuses["GET", "/apis/v2beta1/runs/runs-4"] = [503, 500]
    backend.statuses["POST", "/apis/v2beta1/runs"] = [502]
    set_run(backend, iris_external(), "SUCCEEDED")
    assert kubeflow.run(request_).succeeded
    assert len(backend.find("runs")) == 1


def test_upload_to_an_unavailable_server_raises_its_status(
    backend: StandIn, kubeflow: KubeflowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SECONDS", 0.1)
    backend.statuses["GET", "/apis/v2beta1/pipelines/names/iris-external"] = [503] * 1000
    with pytest.raises(
        UserError, match=r"Kubeflow Pipelines cannot be used: 503 in another way\. A run that has begun"
    ):
        kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)


def test_run_that_the_server_rejects_raises_its_message(
    backend: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    backend.statuses["POST", "/apis/v2beta1/runs"] = [400]
    with pytest.raises(UserError, match="returned 400: in another way"):
        kubeflow.run(request_)


def test_schedule_twice_replaces_the_recurring_run(backend: StandIn, kubeflow: KubeflowEngine, version: str) -> None:
    for cron in ("0 0 3 * * *", "0 30 4 * * 1-5"):
        kubeflow.schedule(ScheduleRequest("iris-external", version, cron, ARGUMENTS, SECRETS))
    (stored,) = backend.find("recurringruns")
    assert stored["trigger"] == {"cron_schedule": {"cron": "0 30 4 * * 1-5"}}
    assert (stored["mode"], stored["no_catchup"], stored["max_concurrency"]) == ("ENABLE", True, "2")
    assert stored["runtime_config"] == {"parameters": ARGUMENTS}
    kubeflow.unschedule("iris-external")
    kubeflow.unschedule("iris-external")
    assert backend.find("recurringruns") == []
    deleted = [path for method, path in backend.requests if method == "DELETE"]
    assert all(path.endswith("?propagation_policy=ORPHAN") for path in deleted)


def test_remove_of_the_last_version_deletes_the_pipeline(
    backend: StandIn, kubeflow: KubeflowEngine, version: str
) -> None:
    other = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    kubeflow.remove(version)
    assert len(backend.find("pipelines")) == len(backend.find("versions")) == 1
    kubeflow.remove(other)
    kubeflow.remove(other)
    assert backend.find("pipelines") == backend.find("versions") == []


def test_remove_of_a_pipeline_deletes_its_versions_also_those_that_were_replaced(
    backend: StandIn, kubeflow: KubeflowEngine, version: str
) -> None:
    newer = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    kubeflow.remove_replaced(version)
    assert len(backend.find("versions")) == 2
    for _ in range(2):
        kubeflow.remove_pipeline(newer)
        assert backend.find("pipelines") == backend.find("versions") == []


@pytest.mark.parametrize(("keep", "left"), [(True, 1), (False, 0)])
def test_remove_keeps_or_deletes_runs_by_the_setting_keep_runs(
    backend: StandIn,
    kubeflow: KubeflowEngine,
    request_: RunRequest,
    config: KubeflowEngineConfig[str],
    keep: bool,
    left: int,
) -> None:
    set_run(backend, iris_external(), "SUCCEEDED")
    kubeflow.run(request_)
    KubeflowEngine(replace(config, keep_runs=keep)).remove(request_.version_id)
    assert len(backend.find("runs")) == left
