"""Measurement of what a Service needs after the death of a machine."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from kubernetes import client  # type: ignore[import-untyped]

from infra.kubernetes_client.client import KubernetesClient
from tests.waiting import until
from workloads.serving import kubernetes

LONGEST_SECONDS = 90


@dataclass(frozen=True)
class Takeover:
    """Seconds after the death until the Service's address answers, and until no endpoint is on the dead machine."""

    address_answers: float
    endpoints_gone: float


def measure_takeover(
    api: KubernetesClient, server: dict[str, Any], machine: str, dies: Callable[[], object]
) -> Takeover:
    """Let a machine die, and wait for both; the time begins before the death."""
    begin = time.monotonic()
    dies()

    def seconds_until(condition: Callable[[], bool], what: str) -> float:
        until(condition, seconds=LONGEST_SECONDS, what=what)
        return time.monotonic() - begin

    with ThreadPoolExecutor(2) as pool:
        answers = pool.submit(seconds_until, lambda: _answers(server["outside"]), "an answer from the address")
        gone = pool.submit(
            seconds_until, lambda: machine not in _endpoint_nodes(api, server["name"]), "no dead endpoint"
        )
        return Takeover(round(answers.result(), 2), round(gone.result(), 2))


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/live", timeout=0.3) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _endpoint_nodes(api: KubernetesClient, service: str) -> set[str]:
    """Return the nodes of the endpoints to which kube-proxy sends connections."""
    slices = client.DiscoveryV1Api(api.core.api_client).list_namespaced_endpoint_slice(
        kubernetes.NAMESPACE, label_selector=f"kubernetes.io/service-name={service}"
    )
    return {each.node_name for part in slices.items for each in part.endpoints or [] if each.conditions.ready}
