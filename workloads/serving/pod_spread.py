"""Distribution of a Deployment's pods over the nodes of a cluster.

Kubernetes selects a node when a pod starts and keeps it. After a long outage of a node, all pods stay on other nodes.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any, Literal

import pulumi

from infra.kubernetes_client.client import KubernetesClient
from infra.retry import poll

REQUEST_SECONDS = 5
POLL_SECONDS = 1
BLOCKING_EFFECTS = ("NoSchedule", "NoExecute")
"""Effects of a taint that keeps model servers off a node: they tolerate no taint."""


class PodSpread:
    """Pods of a namespace with the given labels."""

    def __init__(self, api: KubernetesClient, namespace: str, labels: dict[str, str]) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = ",".join(f"{key}={value}" for key, value in labels.items())

    def is_even(self) -> bool:
        """Return True if pod counts of schedulable nodes differ by at most 1.

        Raises:
            ApiException, HTTPError: the API server returned an error or did not respond within 5 s.
        """
        return self._pod_to_move() is None

    def rebalance(self, timeout_seconds: float) -> None:
        """Evict pods from crowded nodes, one by one, and wait for the replacement of each.

        Each pod is evicted at most once. A missing replacement ends the rebalancing with a warning.

        Args:
            timeout_seconds: the timeout for each replacement.
        """
        retry = self._api.retry
        for _ in range(len(retry(self._running_pods))):
            pod = retry(self._pod_to_move)
            if pod is None:
                return
            expected = len(retry(self._running_pods))
            self._evict(pod.metadata.name)
            if not poll(partial(self._replaced, expected), timeout=timeout_seconds, interval=POLL_SECONDS):
                pulumi.log.warn(
                    f"{self._namespace}/{pod.metadata.name} was evicted, but no replacement became ready within "
                    f"{timeout_seconds:g} s"
                )
                return
        if retry(self._pod_to_move):
            pulumi.log.warn(f"{self._namespace}: the scheduler placed pods on the same node again; they stay there")

    def _replaced(self, count: int) -> Literal[True] | None:
        return True if sum(map(_is_ready, self._api.retry(self._running_pods))) >= count else None

    def _pod_to_move(self) -> Any | None:
        """Return a pod of the node with the most pods, if another node has at least two pods fewer; else None."""
        nodes = [node.metadata.name for node in self._list(self._api.core.list_node) if _is_schedulable(node)]
        pods = self._running_pods()
        counts = Counter(dict.fromkeys(nodes, 0))
        counts.update(pod.spec.node_name for pod in pods if pod.spec.node_name in counts)
        if not counts:
            return None
        (crowded_node, most), (_, fewest) = counts.most_common()[0], counts.most_common()[-1]
        return next(pod for pod in pods if pod.spec.node_name == crowded_node) if most - fewest > 1 else None

    def _running_pods(self) -> list[Any]:
        """Return the pods that are neither terminating nor finished."""
        pods = self._list(self._api.core.list_namespaced_pod, self._namespace, label_selector=self._selector)
        finished = ("Succeeded", "Failed")
        return [pod for pod in pods if pod.metadata.deletion_timestamp is None and pod.status.phase not in finished]

    def _list(self, method: Any, *arguments: str, **options: str) -> list[Any]:
        return list(method(*arguments, _request_timeout=REQUEST_SECONDS, **options).items)

    def _evict(self, pod: str) -> None:
        """Evict a pod; retry while a disruption budget rejects the eviction."""
        from kubernetes.client import V1Eviction, V1ObjectMeta  # type: ignore[import-untyped]

        body = V1Eviction(metadata=V1ObjectMeta(name=pod, namespace=self._namespace))
        evict = self._api.core.create_namespaced_pod_eviction
        self._api.none_if_missing(lambda: evict(pod, self._namespace, body))


def _is_schedulable(node: Any) -> bool:
    return _is_ready(node) and not any(taint.effect in BLOCKING_EFFECTS for taint in node.spec.taints or [])


def _is_ready(resource: Any) -> bool:
    """Return True if a node or a pod has the condition Ready."""
    return any(each.type == "Ready" and each.status == "True" for each in resource.status.conditions or [])
