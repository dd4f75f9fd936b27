"""The model server in the cluster, while things happen to it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import pytest
import requests

from workloads import service
from workloads.engines.api import Api

from .conftest import eventually, pods, ready

FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


def score(url: str) -> requests.Response:
    return requests.post(f"{url}/score", json=FLOWER, timeout=5)


@pytest.fixture
def outside(server: dict[str, Any]) -> str:
    if server["outside"] is None:
        pytest.skip("the Service has no address outside of the cluster")
    return str(server["outside"])


def test_it_answers_from_outside_with_the_version_that_is_deployed(
    api: Api, server: dict[str, Any], outside: str
) -> None:
    answer = score(outside).json()
    assert answer["class_index"] == 0
    environment = {
        variable.name: variable.value
        for pod in pods(api, service.NAMESPACE, server["labels"])
        for variable in pod.spec.containers[0].env
    }
    assert answer["model_version"] == environment["MODEL_SERVER_VERSION"]


def test_its_pods_are_on_different_machines_and_may_do_nothing(api: Api, server: dict[str, Any]) -> None:
    found = pods(api, service.NAMESPACE, server["labels"])
    workers = [node for node in api.core.list_node().items if not node.spec.taints]
    assert len({pod.spec.node_name for pod in found}) == min(len(found), len(workers)) > 0
    for pod in found:
        assert pod.spec.automount_service_account_token is False
        for container in [*pod.spec.containers, *(pod.spec.init_containers or [])]:
            assert "@sha256:" in container.image
            assert container.resources.limits == {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1Gi"}
            assert container.security_context.read_only_root_filesystem
    (namespace,) = [n for n in api.core.list_namespace().items if n.metadata.name == service.NAMESPACE]
    assert namespace.metadata.labels["pod-security.kubernetes.io/enforce"] == "restricted"


class Asking:
    """Asks all the time, each request again once if it fails; counts how the requests ended."""

    def __init__(self, url: str) -> None:
        self.counts: Counter[str] = Counter()
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(4)]

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            for attempt in ("first", "second"):
                try:
                    if score(self._url).status_code == 200:
                        self.counts[attempt] += 1
                        break
                except requests.RequestException:
                    pass
            else:
                self.counts["failed"] += 1
            time.sleep(0.02)


def test_no_request_is_lost_while_a_pod_is_deleted(api: Api, server: dict[str, Any], outside: str) -> None:
    before = pods(api, service.NAMESPACE, server["labels"])
    with Asking(outside) as asking:
        time.sleep(2)
        api.core.delete_namespaced_pod(before[0].metadata.name, service.NAMESPACE)
        eventually(
            lambda: sum(ready(pod) for pod in pods(api, service.NAMESPACE, server["labels"])) >= len(before),
            seconds=120,
        )
        time.sleep(5)
    print(dict(asking.counts))
    assert asking.counts["first"] > 100
    assert asking.counts["failed"] == 0


def test_no_request_is_lost_while_all_pods_are_replaced(
    api: Api, kubeconfig: str, server: dict[str, Any], outside: str
) -> None:
    import yaml
    from kubernetes import client, config  # type: ignore[import-untyped]

    apps = client.AppsV1Api(config.new_client_from_config_dict(yaml.safe_load(kubeconfig)))
    old = {pod.metadata.uid for pod in pods(api, service.NAMESPACE, server["labels"])}
    stamp = {"spec": {"template": {"metadata": {"annotations": {"tests/restarted": str(time.time())}}}}}
    with Asking(outside) as asking:
        apps.patch_namespaced_deployment(server["name"], service.NAMESPACE, stamp)
        eventually(
            lambda: (
                all(ready(pod) for pod in pods(api, service.NAMESPACE, server["labels"]))
                and not old & {pod.metadata.uid for pod in api.core.list_namespaced_pod(service.NAMESPACE).items}
            ),
            seconds=240,
        )
        time.sleep(2)
    print(dict(asking.counts))
    assert asking.counts["first"] > 100
    assert asking.counts["failed"] == 0
