"""State of a Job and its pods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import exit_reasons
from workloads.engines.job.job_manifests import RESOURCES

PENDING_SECONDS = 90
"""Timeout for a pending pod: a slow registry needs some time for an image."""


def condition(job: Any, kind: str) -> Any:
    """Return the condition of a Job if it is true, else None."""
    return next((c for c in job.status.conditions or [] if c.type == kind and c.status == "True"), None)


def pods_of(api: KubernetesClient, job: Any) -> list[Any]:
    """Return the pods of a Job, without those that were deleted."""
    selector = f"batch.kubernetes.io/controller-uid={job.metadata.uid}"
    list_pods = api.core.list_namespaced_pod
    return list(api.retry(lambda: list_pods(job.metadata.namespace, label_selector=selector)).items)


def newest(pods: Iterable[Any]) -> Any:
    """Return the pod that was created last; None without pods."""
    return max(pods, key=lambda pod: pod.metadata.creation_timestamp, default=None)


def exits_with_limits(pod: Any) -> list[str]:
    """Return the reasons why a pod ended, with its limits; none for a pod that was deleted."""
    return [f"{end}; its limits: {RESOURCES['limits']}" for end in exit_reasons(pod)] if pod else []
