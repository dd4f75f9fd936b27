"""What the engine asks of Kubeflow Pipelines, and what it makes of the answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import retry
from infra.dynamic_provider import UserError
from workloads.engines.base import RunRequest
from workloads.engines.kubeflow import run_pods
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine
from workloads.runs.compile import compiled

from .executions import Laid, iris_external
from .stand_in import StandIn

PACKAGE = compiled("iris-external", "registry.example/workloads:1", 0)
SECRETS = {"AZURE_STORAGE_KEY": "c2VjcmV0", "MLFLOW_TRACKING_PASSWORD": "tell-nobody"}
ARGUMENTS = {"baseline": 0.7, "trees": 100, "tracking_url": "http://mlflow", "run_key": "iris-external-1"}


@pytest.fixture
def version(kubeflow: KubeflowEngine) -> str:
    return kubeflow.upload("iris-external", "abc", PACKAGE, sorted(SECRETS), 60)


@pytest.fixture
def request_(version: str) -> RunRequest:
    return RunRequest("iris-external", "iris-external-1", version, ARGUMENTS, SECRETS, "0123456789abcdef" * 4)


def ran(it: StandIn, laid: Laid, *states: str) -> None:
    """Lay down how a run goes: its states, one a look."""
    it.executions, it.events, it.artifacts = laid.executions, laid.events, laid.artifacts
    it.states = list(states)


def pod(name: str, phase: str = "Succeeded", execution: int | None = None, **status: Any) -> dict[str, Any]:
    words = ["--execution_id", str(execution)] if execution else ["--type", "CONTAINER", "--task_name", "train-model"]
    spec = {"containers": [{"name": "main", "command": ["/var/run/argo/argoexec", "--", "launch", *words]}]}
    metadata = {"name": name, "creationTimestamp": "2026-11-25T10:00:00Z"}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase, **status}}


def test_the_same_package_twice_is_one_version_of_one_pipeline(
    it: StandIn, kubeflow: KubeflowEngine, version: str
) -> None:
    assert kubeflow.upload("iris-external", "abc", PACKAGE, sorted(SECRETS), 60) == version
    assert [each["name"] for each in it.find("pipelines")] == ["iris-external"]
    (there,) = it.find("versions")
    assert version == f"{there['pipeline_id']}/{there['pipeline_version_id']}"
    assert set(there["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    other = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    assert other != version
    assert len({each["name"] for each in it.find("versions")}) == 2


def test_a_pipeline_that_another_made_at_the_same_time_is_taken(it: StandIn, kubeflow: KubeflowEngine) -> None:
    theirs = it.keep("pipelines", {"name": "iris-external"})
    it.answers["GET", "/apis/v2beta1/pipelines/names/iris-external"] = [404]
    it.answers["POST", "/apis/v2beta1/pipelines"] = [409]
    version = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    assert version.startswith(theirs["pipeline_id"])


def test_a_run_gives_outputs_steps_and_log_and_leaves_no_mark(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    laid = iris_external()
    ran(it, laid, "PENDING", "RUNNING", "SUCCEEDED")
    it.pods = [pod("pod-of-driver"), pod("pod-of-test-model", execution=laid.executions[3].id)]
    it.logs = {"pod-of-driver": "2026-11-25T10:00:00Z resolved\n", "pod-of-test-model": "2026-11-25T10:00:01Z 0.9\n"}
    result = kubeflow.run(request_)
    assert (result.state, result.failed_step, result.error) == ("SUCCEEDED", None, "")
    assert result.outputs["version"] == "3"
    assert {each["uri"] for each in result.steps[0]["artifacts"]} == {"minio://bucket/train", "minio://bucket/test"}
    assert Path(result.log).read_text() == "test-model: 0.9\n"
    assert it.objects["secrets/pipeline-steps"]["stringData"] == SECRETS
    assert [name for name in it.objects if name.startswith("configmaps/")] == []
    (run,) = it.find("runs")
    assert run["runtime_config"] == {"parameters": ARGUMENTS}
    assert [each["display_name"] for each in it.find("experiments")] == ["dev"]


def test_secrets_are_in_nothing_that_kubeflow_pipelines_is_told(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    ran(it, iris_external(), "SUCCEEDED")
    kubeflow.run(request_)
    kubeflow.schedule("iris-external", request_.version_id, ARGUMENTS, "0 0 3 * * *", SECRETS)
    told = [*it.bodies, *(path for _, path in it.asked)]
    assert [text for text in told for secret in SECRETS.values() if secret in text] == []


def test_new_secrets_are_in_the_place_of_the_old_ones(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    ran(it, iris_external(), "SUCCEEDED")
    kubeflow.run(request_)
    kubeflow.run(replace(request_, run_id="another", secrets={"A": "new"}))
    assert it.objects["secrets/pipeline-steps"]["stringData"] == {"A": "new"}


def test_a_run_that_outlived_its_up_is_found_and_followed(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    assert kubeflow.left_behind(request_.pipeline, request_.key) is None
    ran(it, iris_external(), "RUNNING")
    it.answers["GET", "/apis/v2beta1/runs/runs-4"] = [400]  # as if this `up` were killed when it has begun the run
    with pytest.raises(UserError):
        kubeflow.run(request_)
    assert kubeflow.left_behind(request_.pipeline, request_.key) == request_.run_id
    it.states = ["SUCCEEDED"]
    assert kubeflow.run(request_).succeeded
    assert len(it.find("runs")) == 1
    assert kubeflow.left_behind(request_.pipeline, request_.key) is None


@pytest.mark.parametrize("state", ["FAILED", "CANCELED"])
def test_a_run_that_failed_meanwhile_is_not_gone_on_with(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest, state: str
) -> None:
    ran(it, iris_external(), "RUNNING")
    it.answers["GET", "/apis/v2beta1/runs/runs-4"] = [400]
    with pytest.raises(UserError):
        kubeflow.run(request_)
    it.find("runs")[0]["state"] = state
    assert kubeflow.left_behind(request_.pipeline, request_.key) is None


def test_a_failing_step_is_named_with_its_last_lines(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    laid = Laid()
    root = laid.dag()
    laid.step("preprocess-data", root)
    failed = laid.step("train-model", root, "FAILED")
    ran(it, laid, "RUNNING", "FAILED")
    killed = {"name": "main", "state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    status = {"containerStatuses": [{**killed, "ready": False, "restartCount": 0, "image": "", "imageID": ""}]}
    it.pods = [pod("pod-1", "Failed", failed, **status)]
    it.logs = {"pod-1": "2026-11-25T10:00:00Z fitting\n2026-11-25T10:00:01Z ValueError: no good\n"}
    it.message = "child 'iris-external-abc' failed"
    result = kubeflow.run(request_)
    assert (result.state, result.failed_step, result.outputs) == ("FAILED", "train-model", {})
    assert result.error.splitlines() == ["fitting", "ValueError: no good", "OOMKilled with exit code 137"]
    assert kubeflow.left_behind(request_.pipeline, request_.key) is None


def test_a_step_that_could_not_be_prepared_is_named_by_its_driver(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    laid = Laid()
    laid.dag()
    ran(it, laid, "FAILED")
    it.pods = [pod("pod-1", "Failed")]
    it.logs = {"pod-1": "2026-11-25T10:00:00Z F1125 10:00:00.000001      25 main.go:120] KFP driver: no input\n"}
    result = kubeflow.run(request_)
    assert (result.failed_step, result.error) == ("train-model", "KFP driver: no input")


def test_a_run_that_argo_ended_says_why(it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest) -> None:
    ran(it, Laid(), "FAILED")
    it.message = "Step exceeded its deadline"
    result = kubeflow.run(request_)
    assert (result.failed_step, result.error) == (None, "Step exceeded its deadline")


def test_a_run_that_took_too_long_says_so(it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest) -> None:
    laid = Laid()
    laid.step("train-model", laid.dag(), "RUNNING")
    ran(it, laid, "FAILED")
    it.finished_at = "2026-11-25T16:00:00Z"
    result = kubeflow.run(request_)
    assert (result.failed_step, result.error) == (
        "train-model",
        "the run has taken more than 360 minutes, and was ended",
    )


def test_a_pod_that_cannot_start_ends_the_run_with_the_reason(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    ran(it, Laid(), "RUNNING")
    waiting = {"name": "main", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image x:1"}}}
    status = {"containerStatuses": [{**waiting, "ready": False, "restartCount": 0, "image": "", "imageID": ""}]}
    it.pods = [pod("pod-1", "Pending", 2, **status)]
    with pytest.raises(UserError, match="does not go on: ImagePullBackOff: no such image x:1"):
        kubeflow.run(request_)
    assert it.find("runs")[0]["state"] == "CANCELED"


def test_a_run_without_a_pod_is_given_up(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_pods, "STUCK_SECONDS", 0)
    ran(it, Laid(), "PENDING")
    with pytest.raises(UserError, match="no pod"):
        kubeflow.run(request_)


def test_a_server_that_is_away_for_a_while_is_waited_for(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    it.answers["GET", "/apis/v2beta1/runs/runs-4"] = [503, 500]
    it.answers["POST", "/apis/v2beta1/runs"] = [502]
    ran(it, iris_external(), "SUCCEEDED")
    assert kubeflow.run(request_).succeeded
    assert len(it.find("runs")) == 1


def test_a_server_that_stays_away_is_said_to(
    it: StandIn, kubeflow: KubeflowEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SECONDS", 0.1)
    it.answers["GET", "/apis/v2beta1/pipelines/names/iris-external"] = [503] * 1000
    with pytest.raises(
        UserError, match=r"Kubeflow Pipelines cannot be used: 503 in another way\. A run that has begun"
    ):
        kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)


def test_what_the_server_refuses_is_told_in_its_words(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest
) -> None:
    it.answers["POST", "/apis/v2beta1/runs"] = [400]
    with pytest.raises(UserError, match="answers 400: in another way"):
        kubeflow.run(request_)


def test_a_schedule_is_one_recurring_run_and_is_put_in_the_place_of_the_one_before(
    it: StandIn, kubeflow: KubeflowEngine, version: str
) -> None:
    for cron in ("0 0 3 * * *", "0 30 4 * * 1-5"):
        kubeflow.schedule("iris-external", version, ARGUMENTS, cron, SECRETS)
    (there,) = it.find("recurringruns")
    assert there["trigger"] == {"cron_schedule": {"cron": "0 30 4 * * 1-5"}}
    assert (there["mode"], there["no_catchup"], there["max_concurrency"]) == ("ENABLE", True, "2")
    assert there["runtime_config"] == {"parameters": ARGUMENTS}
    kubeflow.unschedule("iris-external")
    kubeflow.unschedule("iris-external")
    assert it.find("recurringruns") == []
    deleted = [path for method, path in it.asked if method == "DELETE"]
    assert all(path.endswith("?propagation_policy=ORPHAN") for path in deleted)


def test_a_version_that_is_removed_takes_a_pipeline_without_versions_along(
    it: StandIn, kubeflow: KubeflowEngine, version: str
) -> None:
    other = kubeflow.upload("iris-external", "abc", PACKAGE, [], 60)
    kubeflow.remove(version)
    assert len(it.find("pipelines")) == len(it.find("versions")) == 1
    kubeflow.remove(other)
    kubeflow.remove(other)
    assert it.find("pipelines") == it.find("versions") == []


@pytest.mark.parametrize(("keep", "left"), [("true", 1), ("false", 0)])
def test_runs_stay_or_go_with_their_version_as_the_settings_say(
    it: StandIn, kubeflow: KubeflowEngine, request_: RunRequest, properties: dict[str, str], keep: str, left: int
) -> None:
    ran(it, iris_external(), "SUCCEEDED")
    kubeflow.run(request_)
    KubeflowEngine({**properties, "keep_runs": keep}).remove(request_.version_id)
    assert len(it.find("runs")) == left
