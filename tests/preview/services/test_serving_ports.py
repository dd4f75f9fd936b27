"""Ports of the model servers in a cluster, as rendered."""

from __future__ import annotations

import pytest

from tests.preview.rendered import graph_of


@pytest.mark.parametrize(("name", "ports"), [("pinned", {8080: 5005}), ("grpc", {8080: 5005, 8001: 5007})])
def test_model_service_ports_are_those_of_pods_and_network_policy(name: str, ports: dict[int, int]) -> None:
    graph = graph_of("workloads")
    found = graph.of("Service")[name]["spec"]["ports"]
    assert {port["port"]: port["targetPort"] for port in found} == ports
    (rule,) = graph.of("NetworkPolicy")[name]["spec"]["ingress"]
    pod_ports = {port["port"] for port in rule["ports"]}
    assert pod_ports == {*ports.values(), 5006}
    (container,) = graph.of("Deployment")[name]["spec"]["template"]["spec"]["containers"]
    assert {port["containerPort"] for port in container["ports"]} == pod_ports
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment.get("MODEL_SERVER_GRPC_PORT") == ("5007" if name == "grpc" else None)


def test_models_behind_a_door_accept_connections_of_the_door_and_of_prometheus_alone() -> None:
    """The port of the probes has metrics, too. Kubernetes lets the node of a pod in whatever the policy."""
    policies = graph_of("teams").of("NetworkPolicy")
    (rule,) = policies["iris-server"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == [5005]
    (peer,) = rule["from"]
    (names,) = peer["namespaceSelector"]["matchExpressions"]
    assert names["values"] == ["mlplatform-door", "mlplatform-monitoring"]


def test_models_together_are_followed_by_one_deployment() -> None:
    graph = graph_of("workloads")
    (container,) = graph.of("Deployment")["shared-models"]["spec"]["template"]["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["MODEL_SERVER_MODELS"] == "iris,wine"
    assert environment["MODEL_SERVER_ALIAS"] == "champion"
    assert "MODEL_SERVER_MODEL" not in environment
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
