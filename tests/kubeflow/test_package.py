"""The package as Kubeflow Pipelines takes it: its own messages can read every word of it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec, PlatformSpec

from workloads.engines.kubeflow.kubeflow_package import uploaded
from workloads.runs.compile import compiled

SECRETS = ["AZURE_STORAGE_KEY", "MLFLOW_TRACKING_PASSWORD"]
IMAGE = "registry.example:5443/mlplatform/python-workloads@sha256:00ff"


@pytest.fixture(scope="module")
def iris() -> str:
    return compiled("iris-external", IMAGE, 2)


@pytest.fixture(scope="module")
def documents(iris: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(uploaded(iris, SECRETS, 90)))


def test_both_documents_are_read_by_the_messages_of_kubeflow_pipelines(documents: list[dict[str, Any]]) -> None:
    pipeline, platform = documents
    assert ParseDict(pipeline, PipelineSpec()).pipeline_info.name == "iris-external"
    kubernetes = ParseDict(platform, PlatformSpec()).platforms["kubernetes"]
    assert kubernetes.pipelineConfig.active_deadline_seconds == 5400
    assert sorted(kubernetes.deployment_spec.executors) == sorted(pipeline["deploymentSpec"]["executors"])


def test_every_step_has_the_secrets_by_reference_alone(documents: list[dict[str, Any]]) -> None:
    _, platform = documents
    for step in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        (environment,) = step["secretAsEnv"]
        assert environment["secretNameParameter"] == {"runtimeValue": {"constant": "pipeline-steps"}}
        assert environment["keyToEnv"] == [{"secretKey": name, "envVar": name} for name in SECRETS]


def test_every_step_has_requests_limits_image_and_retries(documents: list[dict[str, Any]]) -> None:
    pipeline, _ = documents
    config = ParseDict(pipeline["deploymentSpec"], PipelineDeploymentConfig())
    for executor in config.executors.values():
        resources = executor.container.resources
        assert executor.container.image == IMAGE
        assert (resources.resource_cpu_request, resources.resource_memory_request) == ("200m", "512Mi")
        assert (resources.resource_cpu_limit, resources.resource_memory_limit) == ("2", "2Gi")
    spec = ParseDict(pipeline, PipelineSpec())
    assert spec.root.dag.tasks["train-model"].retry_policy.max_retry_count == 2
    assert spec.components["comp-condition-2"].dag.tasks["deploy-model"].retry_policy.max_retry_count == 2
    assert not spec.root.dag.tasks["condition-branches-1"].HasField("retry_policy")


def test_what_the_package_says_itself_stays(iris: str) -> None:
    pipeline = yaml.safe_load(iris)
    pipeline["deploymentSpec"]["executors"]["exec-train-model"]["container"]["resources"] = {"resourceCpuLimit": "8"}
    pipeline["root"]["dag"]["tasks"]["train-model"]["retryPolicy"] = {"maxRetryCount": 7}
    own = {"nodeSelector": {"labels": {"disk": "ssd"}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train-model": own}}}}}
    first, second = yaml.safe_load_all(uploaded(yaml.safe_dump_all([pipeline, platform]), SECRETS, 90))
    container = first["deploymentSpec"]["executors"]["exec-train-model"]["container"]
    assert container["resources"] == {"resourceCpuLimit": "8"}
    step = second["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train-model"]
    assert step["nodeSelector"] == own["nodeSelector"]
    assert step["secretAsEnv"]


def test_the_same_package_is_the_same_text(iris: str) -> None:
    text = uploaded(iris, SECRETS, 90)
    assert text == uploaded(iris, SECRETS, 90)
    assert "&id" not in text  # no reference from one part to another, which not every reader follows
    assert text != uploaded(iris, SECRETS, 91)


def test_a_pipeline_without_retries_is_compiled_as_ever() -> None:
    assert "retryPolicy" not in compiled("iris-local", IMAGE, 0)
