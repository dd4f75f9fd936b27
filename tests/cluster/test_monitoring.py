"""Prometheus in a cluster: its targets, alerts, drift and password."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from mlplatform.monitoring import node_exporter
from mlplatform.monitoring.prometheus import PAGE, PORT
from mlplatform.monitoring.scrape_config import USER
from mlplatform.monitoring.scraping import NAMESPACE, PROMETHEUS, labels

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from tests.waiting import until
from tools.cli.backup.records import BACKUP, DRILL, renew_lease
from workloads.serving import kubernetes

from .conftest import pods, ready, secret

SCRAPED_SECONDS = 90
"""Seconds until Prometheus shows a change: it scrapes every 30 s, and evaluates rules after that."""
FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


class Asked:
    """Queries to the Prometheus at an address, with any password."""

    def __init__(self, url: str, password: str) -> None:
        self.url = url
        self._login = (USER, password)

    def get(self, path: str, **parameters: str) -> requests.Response:
        return requests.get(self.url + path, params=parameters, auth=self._login, timeout=30)

    def samples(self, query: str) -> list[tuple[dict[str, str], float]]:
        answer = self.get("/api/v1/query", query=query).json()
        assert answer["status"] == "success", answer
        return [(each["metric"], float(each["value"][1])) for each in answer["data"]["result"]]

    def value(self, query: str) -> float | None:
        found = self.samples(query)
        return found[0][1] if found else None


@pytest.fixture(scope="module")
def address(api: KubernetesClient, kubeconfig: str) -> Iterator[str]:
    if not pods(api, NAMESPACE, labels(PROMETHEUS)):
        pytest.skip("the stack has no platform:monitoring")
    selector = ",".join(f"{key}={value}" for key, value in labels(PROMETHEUS).items())
    with port_forward(PodTarget(kubeconfig, NAMESPACE, selector, PORT)) as url:
        yield url


@pytest.fixture(scope="module")
def prometheus(api: KubernetesClient, address: str) -> Asked:
    return Asked(address, secret(api, NAMESPACE, PROMETHEUS)["password"])


def test_prometheus_without_password_returns_nothing(address: str) -> None:
    for path in ("/", PAGE, "/api/v1/query?query=up", "/metrics", "/-/healthy"):
        assert requests.get(address + path, timeout=30).status_code == 401, path
        assert Asked(address, "password1234").get(path).status_code == 401, path


def test_prometheus_scrapes_all_targets(api: KubernetesClient, prometheus: Asked) -> None:
    nodes = len(api.core.list_node().items)
    models = len(pods(api, kubernetes.NAMESPACE, {}))

    def up() -> dict[str, float]:
        return {labels["job"]: value for labels, value in prometheus.samples("count by (job) (up == 1)")}

    expected = {
        **dict.fromkeys(("prometheus", "api-server", "objects"), 1),
        **dict.fromkeys(("kubelet", "containers", "nodes"), nodes),
        "model-servers": models,
    }
    until(lambda: expected.items() <= up().items(), seconds=SCRAPED_SECONDS)
    assert prometheus.samples("up == 0") == []


def test_prometheus_rules_evaluate_without_error(prometheus: Asked) -> None:
    def evaluated() -> list[dict[str, Any]] | None:
        """Return the rules; None if Prometheus has just started and has not evaluated all of them yet."""
        groups = prometheus.get("/api/v1/rules").json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return None if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = until(evaluated, seconds=120, what="the first evaluation of all rules")
    assert len([rule for rule in rules if rule["type"] == "alerting"]) >= 11
    assert {rule["name"]: rule["health"] for rule in rules if rule["health"] != "ok"} == {}


def test_prometheus_has_processor_memory_and_disk_of_each_node(api: KubernetesClient, prometheus: Asked) -> None:
    names = {node.metadata.name for node in api.core.list_node().items}
    for query in ("node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_filesystem_avail_bytes"):
        assert {labels["node"] for labels, _ in prometheus.samples(f"count by (node) ({query})")} == names, query
    ready_nodes = prometheus.samples('kube_node_status_condition{condition="Ready",status="true"} == 1')
    assert {labels["node"] for labels, _ in ready_nodes} == {
        node.metadata.name for node in api.core.list_node().items if ready(node)
    }


def test_status_page_lists_nodes_models_and_alerts(api: KubernetesClient, prometheus: Asked) -> None:
    page = prometheus.get(PAGE)
    assert page.status_code == 200, page.text
    for node in api.core.list_node().items:
        assert f"<td>{node.metadata.name}</td>" in page.text
    for served, _ in prometheus.samples("model_server_model_info == 1"):
        assert f"<td>{served['model']}</td>" in page.text
    assert "error" not in page.text.lower().replace("errors", "")


def test_node_exporter_cannot_write_to_the_node(api: KubernetesClient) -> None:
    found = pods(api, node_exporter.NAMESPACE, labels(node_exporter.NAME))
    assert len(found) == len(api.core.list_node().items)
    for pod in found:
        (container,) = pod.spec.containers
        assert container.security_context.read_only_root_filesystem
        assert pod.spec.security_context.run_as_non_root
        assert all(mount.read_only for mount in container.volume_mounts)
        assert not pod.spec.host_network


def test_prometheus_replaces_a_deleted_model_pod_with_its_successor(
    api: KubernetesClient, server: dict[str, Any], prometheus: Asked
) -> None:
    def read() -> set[str]:
        return {labels["pod"] for labels, _ in prometheus.samples('up{job="model-servers"} == 1')}

    before = {pod.metadata.name for pod in pods(api, kubernetes.NAMESPACE, server["labels"])}
    until(lambda: before <= read(), seconds=SCRAPED_SECONDS)
    gone = min(before)
    api.core.delete_namespaced_pod(gone, kubernetes.NAMESPACE)
    until(lambda: len(read()) >= len(before) and gone not in read(), seconds=180)


@pytest.mark.parametrize("kind", [BACKUP, DRILL])
def test_prometheus_knows_the_time_of_the_last_backup_and_drill(kubeconfig: str, prometheus: Asked, kind: str) -> None:
    begin = time.time()
    for _ in range(2):  # the first call creates the lease, the second one renews it
        renew_lease(kubeconfig, kind)
    query = f'kube_lease_renew_time{{namespace="{NAMESPACE}",lease="{kind}"}}'
    until(lambda: (prometheus.value(query) or 0) >= int(begin), seconds=SCRAPED_SECONDS)


def test_prometheus_crashing_pod_is_a_pending_alert(api: KubernetesClient, prometheus: Asked) -> None:
    """The alert stays pending here: it fires after five minutes, which tests of the rules cover."""
    container = {
        "name": "crash",
        "image": pods(api, NAMESPACE, labels("kube-state-metrics"))[0].spec.containers[0].image,
        "args": ["--no-such-option"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"memory": "64Mi", "cpu": "100m"}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    name = f"crashing-{uuid.uuid4().hex[:8]}"
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": [container], "securityContext": security, "automountServiceAccountToken": False},
    }
    api.core.create_namespaced_pod(NAMESPACE, body)
    try:
        alert = f'ALERTS{{alertname="PodCrashLooping",pod="{name}",container="crash"}}'
        until(lambda: prometheus.samples(alert), seconds=240)
        assert name in prometheus.get(PAGE).text
    finally:
        api.core.delete_namespaced_pod(name, NAMESPACE, grace_period_seconds=0)


def test_prometheus_inputs_in_another_unit_are_drift_by_feature(
    api: KubernetesClient, server: dict[str, Any], outside: str, prometheus: Asked
) -> None:
    if not prometheus.samples("model_server_training_share"):
        pytest.skip("the served model says nothing of its training data")
    drawn = random.Random(0)
    before = prometheus.value("sum(model_server_input_values_total)") or 0
    rows = [{name: value * drawn.uniform(0.9, 1.1) / 2.54 for name, value in FLOWER.items()} for _ in range(2000)]
    for start in range(0, len(rows), 100):
        assert requests.post(f"{outside}/score", json=rows[start : start + 100], timeout=30).ok
    until(
        lambda: (prometheus.value("sum(model_server_input_values_total)") or 0) >= before + len(rows) * len(FLOWER),
        seconds=SCRAPED_SECONDS,
    )

    def drifted() -> set[str]:
        found = prometheus.samples(f'feature:model_input_psi:1h{{service="{server["name"]}"}} > 0.2')
        return {labels["feature"] for labels, _ in found}

    until(lambda: drifted() == set(FLOWER), seconds=SCRAPED_SECONDS)
