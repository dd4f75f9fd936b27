"""The model server in the cluster."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from infra.kubernetes_client.client import KubernetesClient
from tests.harness import Stack, changes
from tests.waiting import until
from workloads.serving import kubernetes

from .conftest import pods, ready

FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


def score(url: str) -> requests.Response:
    return requests.post(f"{url}/score", json=FLOWER, timeout=5)


def test_server_responds_outside_the_cluster_with_the_deployed_version(
    api: KubernetesClient, server: dict[str, Any], outside: str
) -> None:
    answer = score(outside).json()
    assert answer["class_index"] == 0
    environment = {
        variable.name: variable.value
        for pod in pods(api, kubernetes.NAMESPACE, server["labels"])
        for variable in pod.spec.containers[0].env
    }
    assert answer["model_version"] == environment["MODEL_SERVER_VERSION"]


def test_server_pods_run_on_different_nodes_without_rights(api: KubernetesClient, server: dict[str, Any]) -> None:
    found = pods(api, kubernetes.NAMESPACE, server["labels"])
    workers = [node for node in api.core.list_node().items if not node.spec.taints]
    assert len({pod.spec.node_name for pod in found}) == min(len(found), len(workers)) > 0
    for pod in found:
        assert pod.spec.automount_service_account_token is False
        for container in [*pod.spec.containers, *(pod.spec.init_containers or [])]:
            assert "@sha256:" in container.image
            assert container.resources.limits == {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"}
            assert container.security_context.read_only_root_filesystem
    (namespace,) = [n for n in api.core.list_namespace().items if n.metadata.name == kubernetes.NAMESPACE]
    assert namespace.metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_up_after_a_node_outage_distributes_pods_again(
    whole: Stack | None, api: KubernetesClient, server: dict[str, Any]
) -> None:
    if whole is None:
        pytest.skip("the kubeconfig of a cluster is given, not its machines")

    def by_node() -> dict[str, Any]:
        return {pod.spec.node_name: pod for pod in pods(api, kubernetes.NAMESPACE, server["labels"]) if ready(pod)}

    before = by_node()
    (gone, moved), (left, _) = before.items()
    api.core.patch_node(gone, {"spec": {"unschedulable": True}})
    try:
        api.core.delete_namespaced_pod(moved.metadata.name, kubernetes.NAMESPACE)
        until(lambda: sum(map(ready, pods(api, kubernetes.NAMESPACE, server["labels"]))) == 2, what="another pod")
        assert by_node().keys() == {left}
    finally:
        api.core.patch_node(gone, {"spec": {"unschedulable": False}})
    assert changes(whole.up())["updated"] == 1
    assert by_node().keys() == before.keys()
    assert set(changes(whole.up())) == {"unchanged"}
