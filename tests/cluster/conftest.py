"""Fixtures of tests against a cluster: a lab, or the cluster whose kubeconfig MLPLATFORM_TEST_KUBECONFIG names.

The tests use the platform's namespaces, images and services in it. `make test` does not run this folder.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from mlplatform import job_namespace, mlflow, mlflow_pod
from mlplatform.engine_config import EngineConfig, JobEngineConfig
from mlplatform.images.image import REPOSITORY_PREFIX, WORKLOADS
from mlplatform.kubeflow import deployment_factory
from mlplatform.mlflow_server import users
from mlplatform.required_images import require_images
from mlplatform.tracking_access import TrackingAccess
from pulumi import RunError

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget
from settings.platform import PlatformSettings
from tests import shards
from tests.harness import Stack
from tests.lab.stacks import lab_stacks
from tests.store_servers import s3_server
from tests.waiting import until
from workloads.engines.base import RunRequest
from workloads.engines.job.job_engine import JobEngine
from workloads.ml import model_registry, tracking
from workloads.mlflow_session import mlflow_session
from workloads.serving import kubernetes

from . import pipelines

VARIABLE = "MLPLATFORM_TEST_KUBECONFIG"


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack | None]:
    """Yield a lab with all features of its settings, or None if the environment names a cluster."""
    if VARIABLE in os.environ:
        yield None
        return
    with lab_stacks(tmp_path_factory) as make:
        stack = make("whole")
        stack.up()
        yield stack


@pytest.fixture(scope="session")
def kubeconfig(whole: Stack | None) -> str:
    if whole is None:
        return Path(os.environ[VARIABLE]).read_text()
    return str(whole.outputs("--show-secrets")["kubeconfig"])


@pytest.fixture(scope="session")
def kubeflow_installed(whole: Stack | None, api: KubernetesClient) -> None:
    """Install Kubeflow Pipelines in place of the Job engine; skip its tests if the bundle lacks its images."""
    if whole:
        try:
            require_images(PlatformSettings(pipelines="kubeflow"))
        except RunError as error:
            pytest.skip(str(error))
        whole.settings["platform:pipelines"] = "kubeflow"
        whole.up()
    elif not any(each.metadata.name == deployment_factory.NAMESPACE for each in api.core.list_namespace().items):
        pytest.skip("the cluster has no Kubeflow Pipelines")


@pytest.fixture(scope="session")
def api(kubeconfig: str) -> KubernetesClient:
    return KubernetesClient(kubeconfig)


def secret(api: KubernetesClient, namespace: str, name: str) -> dict[str, str]:
    data = api.core.read_namespaced_secret(name, namespace).data
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def pushed_image(api: KubernetesClient, namespace: str) -> str:
    """Return the image of this checkout's steps in the registry of the namespace, to which `up` pushed it."""
    login = json.loads(secret(api, namespace, "registry")[".dockerconfigjson"])
    return f"{next(iter(login['auths']))}/{REPOSITORY_PREFIX}/{WORKLOADS.name}:{WORKLOADS.tag()}"


def begin_and_kill(config: EngineConfig[str], request: RunRequest, begun: Callable[[], Any]) -> None:
    """Start a run as `up` does, and kill that process once `begun` returns something."""
    program = (
        "import json, sys; from mlplatform.engine_config import parse_engine_config; "
        "from workloads.engines.base import RunRequest; from workloads.engines.factory import create_engine; "
        "given = json.load(sys.stdin); "
        "create_engine(parse_engine_config(given['config'])).run(RunRequest(**given['request']))"
    )
    first = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, text=True)
    assert first.stdin
    first.stdin.write(json.dumps({"config": vars(config), "request": vars(request)}))
    first.stdin.close()
    until(begun, seconds=60, what="the beginning of the run")
    first.kill()
    first.wait()


@pytest.fixture(scope="session")
def workloads_image(api: KubernetesClient) -> str:
    if job_namespace.NAMESPACE not in {each.metadata.name for each in api.core.list_namespace().items}:
        pytest.skip("the cluster runs pipelines by Kubeflow")
    return pushed_image(api, job_namespace.NAMESPACE)


@pytest.fixture
def config(kubeconfig: str, workloads_image: str, tmp_path: Path) -> JobEngineConfig[str]:
    return JobEngineConfig(kubeconfig, job_namespace.NAMESPACE, workloads_image, str(tmp_path))


@pytest.fixture
def engine(config: JobEngineConfig[str]) -> JobEngine:
    return JobEngine(config)


@pytest.fixture(scope="session")
def tracking_login(api: KubernetesClient) -> dict[str, str]:
    """Return the login of MLflow as environment variables of steps."""
    password = secret(api, mlflow.NAMESPACE, mlflow_pod.NAME)[users.PASSWORDS[users.WRITER]]
    return {"MLFLOW_TRACKING_USERNAME": users.WRITER, "MLFLOW_TRACKING_PASSWORD": password}


@pytest.fixture(scope="session")
def tracking_inside(api: KubernetesClient) -> str:
    """Return the URL of MLflow for pods."""
    port = api.core.read_namespaced_service(mlflow_pod.NAME, mlflow.NAMESPACE).spec.ports[0].port
    return f"http://{mlflow_pod.NAME}.{mlflow.NAMESPACE}.svc:{port}"


@pytest.fixture
def request_for(
    engine: JobEngine, tracking_inside: str, tracking_login: dict[str, str], tmp_path: Path, request: Any
) -> Any:
    """Yield a function that returns the request for a run; its version is deleted after the test."""

    def make(pipeline: Any, secrets: dict[str, str] | None = None, **arguments: Any) -> RunRequest:
        key = uuid.uuid4().hex
        version = engine.upload(pipeline.name, key[:12], pipelines.package(pipeline, tmp_path), [], 10)
        request.addfinalizer(lambda: engine.remove(version))
        return RunRequest(
            pipeline=pipeline.name,
            run_id=f"{pipeline.name}-{key[:6]}",
            key=key,
            version_id=version,
            arguments=arguments,
            secrets=tracking_login | (secrets or {}),
            tracking_url=tracking_inside,
        )

    return make


@pytest.fixture(scope="session")
def tracking_access(kubeconfig: str, api: KubernetesClient) -> TrackingAccess[str]:
    """Return the administrator's access to MLflow by port-forward."""
    selector = f"app.kubernetes.io/name={mlflow_pod.NAME}"
    return TrackingAccess(
        url="",
        username=users.ADMINISTRATOR,
        password=secret(api, mlflow.NAMESPACE, mlflow_pod.NAME)[users.PASSWORDS[users.ADMINISTRATOR]],
        pod=PodTarget(kubeconfig, mlflow.NAMESPACE, selector, mlflow_pod.CONTAINER_PORT),
    )


@pytest.fixture
def tracking_url(tracking_access: TrackingAccess[str]) -> Iterator[str]:
    with mlflow_session(tracking_access) as url:
        yield url


@pytest.fixture(scope="session")
def bucket(kubeconfig: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the address of an S3 store of this computer, which pods reach at the address of its link to the cluster."""
    api_server = urlsplit(yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["server"])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        route.connect((api_server.hostname, api_server.port))
        host = route.getsockname()[0]
    with s3_server(tmp_path_factory.mktemp("s3"), shards.BUCKET, host) as url:
        yield url


@pytest.fixture(scope="session")
def predictions(
    bucket: str, tracking_access: TrackingAccess[str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, dict[str, str]]:
    """Write files to the store; return the version of the model that predicts them, and the digests of the parts."""
    folder = tmp_path_factory.mktemp("shards")
    with mlflow_session(tracking_access) as url:
        version = tracking.client(url).get_model_version_by_alias(shards.MODEL, "champion").version
        model = model_registry.fetch(url, shards.MODEL, version)
        shards.write_files(bucket, [feature["name"] for feature in model.signature["features"]], folder / "data")
        return version, shards.digests_of_one_process(url, version, folder / "data", folder / "predicted")


def pods(api: KubernetesClient, namespace: str, labels: dict[str, str]) -> list[Any]:
    """Return the pods with these labels that are not being deleted."""
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    found = api.core.list_namespaced_pod(namespace, label_selector=selector).items
    return [pod for pod in found if pod.metadata.deletion_timestamp is None]


def ready(pod: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])


@pytest.fixture(scope="session")
def server(api: KubernetesClient) -> dict[str, Any]:
    """Return name, labels and URL of the served model's Service, and its URL outside the cluster or None."""
    services = api.core.list_namespaced_service(kubernetes.NAMESPACE).items
    found = services[0]
    ingress = found.status.load_balancer.ingress
    return {
        "name": found.metadata.name,
        "labels": found.spec.selector,
        "inside": f"http://{found.metadata.name}.{kubernetes.NAMESPACE}.svc:{found.spec.ports[0].port}",
        "outside": f"http://{ingress[0].ip}:{found.spec.ports[0].port}" if ingress else None,
    }


@pytest.fixture(scope="session")
def outside(server: dict[str, Any]) -> str:
    if server["outside"] is None:
        pytest.skip("the Service has no address outside the cluster")
    return str(server["outside"])
