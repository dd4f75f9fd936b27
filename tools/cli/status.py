"""The current state of a stack's cluster, from its API server and, where monitoring is on, from Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests
from mlplatform.start_page.prometheus_api import PrometheusError

from infra.errors import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from tools.cli.cluster_access import CLUSTER_DOMAIN
from tools.cli.prometheus_query import Prometheus

REQUEST_TIMEOUT_SECONDS = 5
SHOWN_PODS = 10
RENEWAL_DAYS = 30


def cluster_status(outputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines on nodes, pods, certificates, models and alerts.

    Args:
        outputs: the stack's outputs with decrypted secrets; "kubeconfig" is required.
    """
    from kubernetes.client import ApiException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    yield "Now"
    client = KubernetesClient(outputs["kubeconfig"])
    try:
        nodes = client.core.list_node(_request_timeout=REQUEST_TIMEOUT_SECONDS).items
        pods = client.core.list_pod_for_all_namespaces(_request_timeout=REQUEST_TIMEOUT_SECONDS).items
    except (HTTPError, ApiException) as error:
        yield f"  the cluster does not respond: {getattr(error, 'reason', None) or error}"
        return
    yield from _nodes(nodes)
    yield from _pods(pods)
    if "certificates_expire" in outputs:
        yield _certificates(outputs["certificates_expire"])
    if "monitoring_url" not in outputs:
        yield "  models, errors, alerts: not measured, because platform:monitoring is not set"
        return
    try:
        with _prometheus(client, outputs) as prometheus:
            yield from prometheus.report()
    except (PrometheusError, UserError, HTTPError, ApiException) as error:
        yield f"  Prometheus does not respond: {getattr(error, 'reason', None) or error}"


def _nodes(nodes: list[Any]) -> Iterator[str]:
    not_ready = [node.metadata.name for node in nodes if not _is_ready(node)]
    suffix = f"; not ready: {', '.join(not_ready)}" if not_ready else ""
    yield f"  nodes: {len(nodes) - len(not_ready)} of {len(nodes)} ready{suffix}"


def _pods(pods: list[Any]) -> Iterator[str]:
    """Yield the number of ready pods and the reasons of others; finished and terminating pods do not count."""
    active = [
        pod
        for pod in pods
        if pod.metadata.deletion_timestamp is None and pod.status.phase not in ("Succeeded", "Failed")
    ]
    waiting = [pod for pod in active if not _is_ready(pod)]
    yield f"  pods: {len(active) - len(waiting)} of {len(active)} ready"
    for pod in waiting[:SHOWN_PODS]:
        yield f"    {pod.metadata.namespace}/{pod.metadata.name}: {_reason(pod)}"
    if len(waiting) > SHOWN_PODS:
        yield f"    and {len(waiting) - SHOWN_PODS} more"


def _is_ready(resource: Any) -> bool:
    """Return True if the condition Ready of a node or pod is True."""
    return any(each.type == "Ready" and each.status == "True" for each in resource.status.conditions or [])


def _reason(pod: Any) -> str:
    states = [each.state for each in pod.status.container_statuses or []]
    waiting = [state.waiting.reason for state in states if state.waiting and state.waiting.reason]
    return waiting[0] if waiting else str(pod.status.phase)


def _certificates(expire: str) -> str:
    days = (datetime.fromisoformat(expire) - datetime.now(UTC)).days
    advice = "; renew them, see docs/operate.md" if days < RENEWAL_DAYS else ""
    return f"  certificates: the first expires in {days} days{advice}"


@contextmanager
def _prometheus(client: KubernetesClient, outputs: Mapping[str, Any]) -> Iterator[Prometheus]:
    """Yield the stack's Prometheus; a port-forward reaches one that only the cluster can reach."""
    login = outputs["monitoring_login"]
    session = requests.Session()
    session.auth = (login["username"], login["password"])
    url = urlsplit(outputs["monitoring_url"])
    host = str(url.hostname)
    if not host.endswith(CLUSTER_DOMAIN):
        yield Prometheus(f"http://{url.netloc}", session)
        return
    name, namespace = host.removesuffix(CLUSTER_DOMAIN).split(".")
    service = client.core.read_namespaced_service(name, namespace, _request_timeout=REQUEST_TIMEOUT_SECONDS).spec
    selector = ",".join(f"{key}={value}" for key, value in service.selector.items())
    pods = client.core.list_namespaced_pod(
        namespace, label_selector=selector, _request_timeout=REQUEST_TIMEOUT_SECONDS
    ).items
    if not any(_is_ready(pod) for pod in pods):
        raise PrometheusError("its pod is not ready")
    target = PodTarget(outputs["kubeconfig"], namespace, selector, int(service.ports[0].target_port))
    with port_forward(target) as forwarded:
        yield Prometheus(forwarded, session)
