"""What a stack's cluster is like at this moment: its API server tells, and Prometheus where there is one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import requests

from infra.errors import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.port_forward import PodTarget, port_forward
from tools.cli.cluster_access import INSIDE
from tools.cli.prometheus import NoAnswer, Prometheus

ANSWER_SECONDS = 5
SHOWN_PODS = 10
RENEW_DAYS = 30


def now(outputs: Mapping[str, Any]) -> Iterator[str]:
    """A few lines; `outputs` are the stack's, secrets included."""
    from kubernetes.client import ApiException  # type: ignore[import-untyped]
    from urllib3.exceptions import HTTPError

    yield "Now"
    api = KubernetesClient(outputs["kubeconfig"])
    try:
        nodes = api.core.list_node(_request_timeout=ANSWER_SECONDS).items
        pods = api.core.list_pod_for_all_namespaces(_request_timeout=ANSWER_SECONDS).items
    except (HTTPError, ApiException) as error:
        yield f"  the cluster does not answer: {getattr(error, 'reason', None) or error}"
        return
    yield from _nodes(nodes)
    yield from _pods(pods)
    if "certificates_expire" in outputs:
        yield _certificates(outputs["certificates_expire"])
    if "monitoring_url" not in outputs:
        yield "  models, errors, alerts: nobody measures them; platform:monitoring is not set"
        return
    try:
        with _prometheus(api, outputs) as prometheus:
            yield from prometheus.told()
    except (NoAnswer, UserError, HTTPError, ApiException) as error:
        yield f"  Prometheus does not answer: {getattr(error, 'reason', None) or error}"


def _nodes(nodes: list[Any]) -> Iterator[str]:
    away = [node.metadata.name for node in nodes if not _is_ready(node)]
    yield f"  nodes: {len(nodes) - len(away)} of {len(nodes)} ready" + (f"; not {', '.join(away)}" if away else "")


def _pods(pods: list[Any]) -> Iterator[str]:
    """Those that have done their work, or are going, are none of them."""
    meant = [
        pod
        for pod in pods
        if pod.metadata.deletion_timestamp is None and pod.status.phase not in ("Succeeded", "Failed")
    ]
    waiting = [pod for pod in meant if not _is_ready(pod)]
    yield f"  pods: {len(meant) - len(waiting)} of {len(meant)} ready"
    for pod in waiting[:SHOWN_PODS]:
        yield f"    {pod.metadata.namespace}/{pod.metadata.name}: {_reason(pod)}"
    if len(waiting) > SHOWN_PODS:
        yield f"    and {len(waiting) - SHOWN_PODS} more"


def _is_ready(thing: Any) -> bool:
    """A node or a pod."""
    return any(each.type == "Ready" and each.status == "True" for each in thing.status.conditions or [])


def _reason(pod: Any) -> str:
    states = [each.state for each in pod.status.container_statuses or []]
    waiting = [state.waiting.reason for state in states if state.waiting and state.waiting.reason]
    return waiting[0] if waiting else str(pod.status.phase)


def _certificates(expire: str) -> str:
    days = (datetime.fromisoformat(expire) - datetime.now(UTC)).days
    return f"  certificates: the first ends in {days} days" + (
        "; renew them, see docs/operate.md" if days < RENEW_DAYS else ""
    )


@contextmanager
def _prometheus(api: KubernetesClient, outputs: Mapping[str, Any]) -> Iterator[Prometheus]:
    """The stack's, wherever it is reached."""
    login = outputs["monitoring_login"]
    session = requests.Session()
    session.auth = (login["username"], login["password"])
    address = urlsplit(outputs["monitoring_url"])
    host = str(address.hostname)
    if not host.endswith(INSIDE):
        yield Prometheus(f"http://{address.netloc}", session)
        return
    name, namespace = host.removesuffix(INSIDE).split(".")
    service = api.core.read_namespaced_service(name, namespace, _request_timeout=ANSWER_SECONDS).spec
    selector = ",".join(f"{key}={value}" for key, value in service.selector.items())
    there = api.core.list_namespaced_pod(namespace, label_selector=selector, _request_timeout=ANSWER_SECONDS).items
    if not any(_is_ready(pod) for pod in there):
        raise NoAnswer("its pod is not ready")
    target = PodTarget(outputs["kubeconfig"], namespace, selector, int(service.ports[0].target_port))
    with port_forward(target) as url:
        yield Prometheus(url, session)
