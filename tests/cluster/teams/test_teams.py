"""Two teams in a cluster: their namespaces, runs and model servers, and what one reaches of the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import yaml
from mlplatform import job_namespace, mlflow, mlflow_pod
from mlplatform.door import audit, start_page
from mlplatform.k8s.namespace import CONTAINER_SECURITY, POD

from infra.kubernetes_client.client import KubernetesClient
from tests.cluster.conftest import pods, secret
from tests.harness import Stack
from tests.lab.cluster import TOOLS, Cluster, cluster_at
from workloads.serving.pod_template import CONTAINER_PORT, HEALTH_PORT

from .team_stack import PERSONS, SCIENCE, SHOP, SPACES, signed_in, two_teams

MLFLOW = f"{mlflow_pod.NAME}.{mlflow.NAMESPACE}.svc:5050"
CLOSED = {
    "start page": f"http://{start_page.NAME}.{audit.NAMESPACE}.svc:{start_page.PORT}/",
    "audit log": f"http://{audit.NAME}.{audit.NAMESPACE}.svc:{audit.PORT}/entries",
    "API server": "https://kubernetes.default.svc:443/version",
}
"""Addresses that pods of teams do not reach."""
CONNECTIONS = f"""
import json, socket, urllib.parse
def connects(url):
    parts = urllib.parse.urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), 5).close()
        return True
    except OSError:
        return False
print(json.dumps({{name: connects(url) for name, url in {dict(CLOSED, mlflow=f"http://{MLFLOW}/")!r}.items()}}))
"""
"""Program that prints which addresses accept a connection."""
FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


@pytest.fixture(scope="module")
def outputs(whole: Stack | None) -> Iterator[dict[str, Any]]:
    if whole is None:
        pytest.skip("teams need settings that the environment's cluster does not have")
    with two_teams(whole) as found:
        yield found


@pytest.fixture(scope="module")
def cluster(outputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return cluster_at(outputs["kubeconfig"], tmp_path_factory.mktemp("kubeconfig"))


@pytest.fixture(scope="module")
def score(outputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], int]:
    """Return a function that predicts at the door in the name of a person, and returns the status."""
    authority = tmp_path_factory.mktemp("door") / "ca.crt"
    url = str(outputs["door_url"]).rstrip("/")

    def status(person: str) -> int:
        with signed_in(outputs, person, authority) as session:
            headers = {"Origin": url}
            answer = session.post(f"{url}/models/iris/score", json=FLOWER, headers=headers, timeout=30)
            return answer.status_code

    return status


def test_model_of_a_team_answers_its_persons_and_administrators(score: Callable[[str], int]) -> None:
    assert {person: score(person) for person in PERSONS} == {"anna": 200, "sam": 200, "tess": 403}


def test_run_and_server_of_a_team_are_in_its_namespace(outputs: dict[str, Any], api: KubernetesClient) -> None:
    assert outputs["iris_external"]["state"] == "SUCCEEDED"
    # A finished Job is deleted. Its package stays.
    packages = {
        space: {each.metadata.name for each in api.core.list_namespaced_config_map(space).items} for space in SPACES
    }
    for pipeline, owner in {"iris-external": SHOP, "batch-predict": SHOP, "iris-local": SCIENCE}.items():
        assert [space for space in SPACES if any(name.startswith(pipeline) for name in packages[space])] == [owner]
    servers = {each.metadata.name for each in api.apps.list_namespaced_deployment(SHOP).items}
    assert servers == {"iris-server"}
    assert api.apps.list_namespaced_deployment(SCIENCE).items == []


def test_programs_of_a_team_have_rights_on_its_runs_only(
    tracking_url: str, outputs: dict[str, Any], api: KubernetesClient
) -> None:
    teams = json.loads(secret(api, mlflow.NAMESPACE, mlflow_pod.NAME)[mlflow_pod.TEAMS])
    find, change = (
        f"{tracking_url}/api/2.0/mlflow/experiments/get-by-name",
        f"{tracking_url}/api/2.0/mlflow/runs/create",
    )

    def statuses(user: str, team: str) -> tuple[int, int]:
        login = (f"{user}.{team}", teams[team]["passwords"][user])
        found = requests.get(find, params={"experiment_name": "iris-external"}, auth=login, timeout=30)
        if found.status_code != 200:
            return found.status_code, found.status_code
        experiment = {"experiment_id": found.json()["experiment"]["experiment_id"]}
        return found.status_code, requests.post(change, json=experiment, auth=login, timeout=30).status_code

    assert {team: statuses("writer", team) for team in ("shop", "science")} == {
        "shop": (200, 200),
        "science": (403, 403),
    }
    assert {team: statuses("reader", team) for team in ("shop", "science")} == {
        "shop": (200, 403),
        "science": (403, 403),
    }


def test_pipeline_of_a_team_reads_the_container_of_the_team(tracking_url: str, api: KubernetesClient) -> None:
    teams = json.loads(secret(api, mlflow.NAMESPACE, mlflow_pod.NAME)[mlflow_pod.TEAMS])
    login = ("writer.shop", teams["shop"]["passwords"]["writer"])
    experiments = f"{tracking_url}/api/2.0/mlflow/experiments/get-by-name?experiment_name=iris-external"
    experiment = requests.get(experiments, auth=login, timeout=30).json()["experiment"]["experiment_id"]
    search = {
        "experiment_ids": [experiment],
        "filter": "attributes.status = 'FINISHED' and params.container = 'shop-data'",
        "max_results": 10,
    }
    found = requests.post(f"{tracking_url}/api/2.0/mlflow/runs/search", json=search, auth=login, timeout=30)
    assert found.json().get("runs"), found.text


def step(namespace: str, cpu: str = "1") -> dict[str, Any]:
    """Return a pod with tools that has the labels and limits of a step."""
    resources = {"limits": {"cpu": cpu, "memory": "128Mi", "ephemeral-storage": "100Mi"}}
    container = {
        "name": "main",
        "image": TOOLS,
        "command": ["sleep", "infinity"],
        "resources": resources,
        "securityContext": CONTAINER_SECURITY,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "caller", "namespace": namespace, "labels": job_namespace.PODS},
        "spec": {**POD, "terminationGracePeriodSeconds": 0, "containers": [container]},
    }


@pytest.fixture(scope="module")
def from_step(cluster: Cluster) -> Iterator[Callable[[str], str]]:
    """Yield a function that returns the status of a request from a step of `science`; 000 without a connection."""
    cluster.apply(step(SCIENCE))
    cluster.wait("pod/caller", "-n", SCIENCE, "--for=condition=Ready")

    def status(url: str) -> str:
        command = ["curl", "-sk", "-m", "8", "-o", "/dev/null", "-w", "%{http_code}", url]
        return cluster.execute("caller", SCIENCE, *command, check=False)[:3]

    yield status
    cluster.kubectl("delete", "pod", "caller", "-n", SCIENCE, "--wait=false")


def test_step_of_another_team_does_not_reach_the_server(from_step: Callable[[str], str], api: KubernetesClient) -> None:
    server, *_ = pods(api, SHOP, {"app.kubernetes.io/name": "iris-server"})
    ports = (CONTAINER_PORT, HEALTH_PORT)
    urls = [f"http://iris-server.{SHOP}.svc:{CONTAINER_PORT}/v2/health/ready"]
    urls += [f"http://{server.status.pod_ip}:{port}/metrics" for port in ports]
    assert {url: from_step(url) for url in urls} == dict.fromkeys(urls, "000")
    assert from_step(f"http://{MLFLOW}/health") == "200"


def test_step_reaches_neither_the_api_server_nor_services_of_the_door(from_step: Callable[[str], str]) -> None:
    assert {name: from_step(url) for name, url in CLOSED.items()} == dict.fromkeys(CLOSED, "000")


def test_model_server_reaches_mlflow_alone(cluster: Cluster) -> None:
    reached = cluster.execute("deployment/iris-server", SHOP, "python3", "-c", CONNECTIONS)
    assert json.loads(reached) == {"mlflow": True, **dict.fromkeys(CLOSED, False)}


def test_pod_beyond_the_quota_is_refused(cluster: Cluster) -> None:
    refusal = cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(step(SHOP, cpu="7")), check=False)
    assert "exceeded quota: limits" in refusal
