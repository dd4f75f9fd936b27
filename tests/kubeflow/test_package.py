"""Package for Kubeflow Pipelines, checked with its own protobuf messages."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from google.protobuf.json_format import ParseDict
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineDeploymentConfig, PipelineSpec, PlatformSpec

from workloads.engines.kubeflow.kubeflow_package import kubeflow_package
from workloads.runs.compile import compile_pipeline

SECRETS = ["AZURE_STORAGE_SAS_TOKEN", "MLFLOW_TRACKING_PASSWORD"]
IMAGE = "registry.example:5443/mlplatform/python-workloads@sha256:00ff"


@pytest.fixture(scope="module")
def iris() -> str:
    return compile_pipeline("iris-external", IMAGE, 2).ir


@pytest.fixture(scope="module")
def documents(iris: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(kubeflow_package(iris, SECRETS, 90)))


def test_kubeflow_package_documents_are_valid_messages(documents: list[dict[str, Any]]) -> None:
    pipeline, platform = documents
    assert ParseDict(pipeline, PipelineSpec()).pipeline_info.name == "iris-external"
    kubernetes = ParseDict(platform, PlatformSpec()).platforms["kubernetes"]
    assert kubernetes.pipelineConfig.active_deadline_seconds == 5400
    assert sorted(kubernetes.deployment_spec.executors) == sorted(pipeline["deploymentSpec"]["executors"])


def test_kubeflow_package_steps_refer_to_the_secrets(documents: list[dict[str, Any]]) -> None:
    _, platform = documents
    for step in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        (environment,) = step["secretAsEnv"]
        assert environment["secretNameParameter"] == {"runtimeValue": {"constant": "pipeline-steps"}}
        assert environment["keyToEnv"] == [{"secretKey": name, "envVar": name} for name in SECRETS]


def test_kubeflow_package_steps_have_requests_limits_image_and_retries(documents: list[dict[str, Any]]) -> None:
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


def test_kubeflow_package_of_a_package_with_settings_keeps_them(iris: str) -> None:
    pipeline = yaml.safe_load(iris)
    pipeline["deploymentSpec"]["executors"]["exec-train-model"]["container"]["resources"] = {"resourceCpuLimit": "8"}
    pipeline["root"]["dag"]["tasks"]["train-model"]["retryPolicy"] = {"maxRetryCount": 7}
    step_settings = {"nodeSelector": {"labels": {"disk": "ssd"}}}
    platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"exec-train-model": step_settings}}}}}
    first, second = yaml.safe_load_all(kubeflow_package(yaml.safe_dump_all([pipeline, platform]), SECRETS, 90))
    container = first["deploymentSpec"]["executors"]["exec-train-model"]["container"]
    assert container["resources"] == {"resourceCpuLimit": "8"}
    step = second["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train-model"]
    assert step["nodeSelector"] == step_settings["nodeSelector"]
    assert step["secretAsEnv"]


def test_kubeflow_package_of_the_same_package_is_the_same_text(iris: str) -> None:
    text = kubeflow_package(iris, SECRETS, 90)
    assert text == kubeflow_package(iris, SECRETS, 90)
    assert "&id" not in text  # some readers do not support YAML aliases
    assert text != kubeflow_package(iris, SECRETS, 91)


def test_compile_pipeline_without_retries_adds_no_retry_policy() -> None:
    assert "retryPolicy" not in compile_pipeline("iris-local", IMAGE, 0).ir
