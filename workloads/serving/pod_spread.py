"""Pods over a cluster's machines: when one was away for long, all may sit on the others, and stay there afterwards.

Kubernetes chooses a machine when a pod begins, and never again.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pulumi

from infra.kubernetes_client.client import KubernetesClient

ASK_SECONDS = 5
LOOK_SECONDS = 1
FORBIDDING = ("NoSchedule", "NoExecute")
"""Effects of a taint that keeps away pods which do not tolerate it; a model server's tolerate none."""


class Pods:
    """Those of a namespace with these labels."""

    def __init__(self, api: KubernetesClient, namespace: str, labels: dict[str, str]) -> None:
        self._api = api
        self._namespace = namespace
        self._selector = ",".join(f"{key}={value}" for key, value in labels.items())

    def spread(self) -> bool:
        """Whether no machine has two pods more than another that takes any.

        Raises:
            ApiException, HTTPError: the API server gives no answer, or none soon.
        """
        return self._crowding() is None

    def spread_anew(self, seconds: float) -> None:
        """Move one pod after the other; each next when one serves in the place of the last, for `seconds` at most."""
        patiently = self._api.retry
        for _ in range(len(patiently(self._staying))):
            pod = patiently(self._crowding)
            if pod is None:
                return
            stay = len(patiently(self._staying))
            self._evict(pod.metadata.name)
            deadline = time.monotonic() + seconds
            while sum(map(_ready, patiently(self._staying))) < stay:
                if time.monotonic() > deadline:
                    pulumi.log.warn(
                        f"{self._namespace}/{pod.metadata.name} was moved, and no other serves in its place"
                    )
                    return
                time.sleep(LOOK_SECONDS)
        if patiently(self._crowding):
            pulumi.log.warn(f"{self._namespace}: pods that were to be on different machines begin on the same one")

    def _crowding(self) -> Any | None:
        """A pod of the machine with most of them, where another could take it and would have no more; else None."""
        taking = [node.metadata.name for node in self._list(self._api.core.list_node) if _takes_pods(node)]
        pods = self._staying()
        counts = Counter(dict.fromkeys(taking, 0))
        counts.update(pod.spec.node_name for pod in pods if pod.spec.node_name in counts)
        if not counts:
            return None
        (most, many), (_, few) = counts.most_common()[0], counts.most_common()[-1]
        return next(pod for pod in pods if pod.spec.node_name == most) if many - few > 1 else None

    def _staying(self) -> list[Any]:
        core = self._api.core
        found = self._list(core.list_namespaced_pod, self._namespace, label_selector=self._selector)
        ended = ("Succeeded", "Failed")
        return [pod for pod in found if pod.metadata.deletion_timestamp is None and pod.status.phase not in ended]

    def _list(self, of: Any, *arguments: str, **options: str) -> list[Any]:
        return list(of(*arguments, _request_timeout=ASK_SECONDS, **options).items)

    def _evict(self, pod: str) -> None:
        """Ask for its end, which a disruption budget may put off."""
        from kubernetes.client import V1Eviction, V1ObjectMeta  # type: ignore[import-untyped]

        body = V1Eviction(metadata=V1ObjectMeta(name=pod, namespace=self._namespace))
        evict = self._api.core.create_namespaced_pod_eviction
        self._api.none_if_missing(lambda: evict(pod, self._namespace, body))


def _takes_pods(node: Any) -> bool:
    return _ready(node) and not any(taint.effect in FORBIDDING for taint in node.spec.taints or [])


def _ready(one: Any) -> bool:
    """Whether a node, or a pod, says so of itself."""
    return any(each.type == "Ready" and each.status == "True" for each in one.status.conditions or [])
