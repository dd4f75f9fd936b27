"""Deployments and Services of a namespace: what each service of the platform is built from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace
from mlplatform.k8s.pod import Pod
from mlplatform.k8s.waiting import AWAIT_ADDRESS, SKIP_AWAIT

from settings.types import ServiceType

MountedSettings: TypeAlias = "kubernetes.core.v1.ConfigMap | kubernetes.core.v1.Secret"


def deployment(
    name: str,
    namespace: Namespace,
    labels: Mapping[str, str],
    pod: Pod,
    *depends_on: pulumi.Resource,
    settings: Sequence[MountedSettings] = (),
    selector: Mapping[str, str] | None = None,
    strategy: Literal["Recreate", "RollingUpdate"] = "Recreate",
    replicas: int = 1,
) -> kubernetes.apps.v1.Deployment:
    """Create a Deployment.

    Args:
        name: name of the Deployment.
        namespace: its namespace.
        labels: labels of the Deployment and of its pod.
        pod: its pod.
        *depends_on: resources that exist before the Deployment.
        settings: objects that the containers read only at their start, so changed content replaces the pod.
        selector: the labels that identify the pod; all of `labels` if None.
        strategy: with Recreate, a pod ends before its successor starts: two would write to one volume, or act twice on
            the same event.
        replicas: number of pods.
    """
    metadata: dict[str, Any] = {"labels": dict(labels)}
    if settings:
        metadata["annotations"] = {"settings": settings_digest(settings)}
    return kubernetes.apps.v1.Deployment(
        name,
        metadata=namespace.metadata(name, labels),
        spec={
            "replicas": replicas,
            "strategy": {"type": strategy},
            "selector": {"matchLabels": dict(selector or labels)},
            "template": {"metadata": metadata, "spec": pod.manifest()},
        },
        opts=namespace.options(*settings, *depends_on),
    )


def service(
    name: str,
    namespace: Namespace,
    labels: Mapping[str, str],
    selector: Mapping[str, str],
    ports: Mapping[str, tuple[int, int]],
    *depends_on: pulumi.Resource,
    kind: ServiceType = "ClusterIP",
    annotations: Mapping[str, str] | None = None,
    sees_callers: bool = False,
) -> kubernetes.core.v1.Service:
    """Create a Service for the pods that `selector` matches; `ports` are its port and the pod's port, by name.

    With `sees_callers`, pods see the addresses of callers from outside the cluster, and a node without such a pod
    accepts no connection from there. Otherwise they see those of nodes.
    """
    awaited = AWAIT_ADDRESS if kind == "LoadBalancer" else SKIP_AWAIT
    return kubernetes.core.v1.Service(
        name,
        metadata=namespace.metadata(name, labels, {**awaited, **(annotations or {})}),
        spec={
            "type": kind,
            **({"externalTrafficPolicy": "Local"} if sees_callers else {}),
            "selector": dict(selector),
            "ports": [{"name": key, "port": port, "targetPort": target} for key, (port, target) in ports.items()],
        },
        opts=namespace.options(*depends_on),
    )


def settings_digest(settings: Sequence[MountedSettings]) -> pulumi.Output[str]:
    """Return the SHA-256 of the content. A digest reveals nothing, so it is no secret."""
    contents = pulumi.Output.all(*(each.data for each in settings))
    digest = contents.apply(lambda known: hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest())
    return pulumi.Output.unsecret(digest)
