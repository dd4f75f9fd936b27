"""Teams as rendered: their namespaces, quotas and network rules, and the logins of their programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.preview.graph import Graph
from tests.preview.rendered import graph_of
from tests.preview.test_manifests import plain

SHOP, SCIENCE = "mlplatform-team-shop", "mlplatform-team-science"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of("teams")


def in_namespace(graph: Graph, kind: str, namespace: str) -> dict[str, Any]:
    """Return the objects of a kind in a namespace, by their names in the cluster."""
    objects = [plain(each) for each in graph.of(kind).values()]
    return {each["metadata"]["name"]: each for each in objects if each["metadata"].get("namespace") == namespace}


def test_namespace_of_a_team_has_its_label_and_the_level_restricted(graph: Graph) -> None:
    labels = plain(graph.of("Namespace")[SHOP])["metadata"]["labels"]
    assert labels["mlplatform/team"] == "shop"
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_quota_of_the_settings_limits_the_namespace(graph: Graph) -> None:
    pods = {"pods": "100", "persistentvolumeclaims": "0"}
    limits = {"limits.cpu": "8", "limits.memory": "16Gi", "limits.ephemeral-storage": "40Gi"}
    assert in_namespace(graph, "ResourceQuota", SHOP)["limits"]["spec"]["hard"] == pods | limits
    assert in_namespace(graph, "ResourceQuota", SCIENCE)["limits"]["spec"]["hard"] == pods
    # A quota refuses pods without limits.
    assert in_namespace(graph, "LimitRange", SHOP)["limits"]["spec"]["limits"][0]["default"].keys() >= {"cpu", "memory"}


def test_namespace_of_a_team_is_closed_but_for_runs_and_servers(graph: Graph) -> None:
    policies = in_namespace(graph, "NetworkPolicy", SHOP)
    assert set(policies) == {"closed", f"{SHOP}-pipeline-run", f"{SHOP}-pipeline-run-dask", "iris-server"}
    assert policies["closed"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert not policies[f"{SHOP}-pipeline-run"]["spec"].get("ingress")
    workers = [{"podSelector": {"matchLabels": {"mlplatform/dask": "true"}}}]
    shared = policies[f"{SHOP}-pipeline-run-dask"]["spec"]
    assert (shared["podSelector"], shared["ingress"]) == (workers[0]["podSelector"], [{"from": workers}])
    peers = json.dumps(policies["iris-server"]["spec"])
    assert SCIENCE not in peers
    assert "mlplatform-door" in peers


def test_servers_and_their_login_are_those_of_the_team(graph: Graph) -> None:
    assert set(in_namespace(graph, "Deployment", SHOP)) == {"iris-server"}
    netrc = in_namespace(graph, "Secret", SHOP)["registry-login"]["stringData"]["netrc"]
    assert netrc == "machine mlflow.mlplatform-tracking.svc login reader.shop password mlflow-reader-shop-password\n"
    secrets = {name: json.dumps(plain(each)) for name, each in graph.of("Secret").items()}
    assert [name for name, content in secrets.items() if "mlflow-writer-science-password" in content] == ["mlflow"]


def test_mlflow_gets_the_teams_and_grants_nothing_by_default(graph: Graph) -> None:
    secret = in_namespace(graph, "Secret", "mlplatform-tracking")["mlflow"]["stringData"]
    assert "default_permission = NO_PERMISSIONS" in secret["basic_auth.ini"]
    assert json.loads(secret["teams.json"])["shop"] == {
        "experiments": ["flowers"],
        "models": {"iris": True},
        "passwords": {"writer": "mlflow-writer-shop-password", "reader": "mlflow-reader-shop-password"},
    }
    pod = in_namespace(graph, "Deployment", "mlplatform-tracking")["mlflow"]["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        assert {"name": "MLFLOW_TEAMS_FILE", "value": "/etc/mlflow/teams.json"} in container["env"]


def test_prometheus_finds_the_servers_of_teams(graph: Graph) -> None:
    files = in_namespace(graph, "ConfigMap", "mlplatform-monitoring")["prometheus"]["data"]
    jobs = {each["job_name"]: each for each in yaml.safe_load(files["prometheus.yaml"])["scrape_configs"]}
    (discovery,) = jobs["model-servers"]["kubernetes_sd_configs"]
    assert discovery["namespaces"]["names"] == ["mlplatform-serving", SHOP, SCIENCE]
    assert "prometheus" in in_namespace(graph, "RoleBinding", SHOP)
