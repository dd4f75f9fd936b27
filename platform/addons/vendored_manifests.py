"""Manifests of add-ons: read from `vendor`, changed where this platform needs it, created as typed resources."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import yaml
from mlplatform.k8s.waiting import SKIP_AWAIT

from infra.cluster import Cluster

VENDOR = Path(__file__).with_name("vendor")
TOLERATIONS = [{"effect": effect, "operator": "Exists"} for effect in ("NoSchedule", "NoExecute")]
"""Tolerations of a pod network: it runs on every node, whatever taints the node has."""

Manifest = dict[str, Any]

_STAGES = (("Namespace",), (), ("Deployment", "DaemonSet"), ("APIService",))
"""Kinds in the order of creation; the second stage takes all kinds that no other stage names."""


def read_manifests(name: str) -> dict[tuple[str, str], Manifest]:
    """Return the manifests of `vendor/NAME.yaml` by kind and name."""
    documents = yaml.safe_load_all((VENDOR / f"{name}.yaml").read_text())
    return {(each["kind"], each["metadata"]["name"]): each for each in documents if each}


def pod_of(manifest: Manifest) -> dict[str, Any]:
    """Return the pod specification of a Deployment or DaemonSet, for changes in place."""
    pod: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return pod


def container(manifest: Manifest, name: str) -> dict[str, Any]:
    """Return the container or init container `name` of a Deployment or DaemonSet, for changes in place."""
    pod = pod_of(manifest)
    found: list[dict[str, Any]] = [*pod.get("initContainers", []), *pod["containers"]]
    return next(each for each in found if each["name"] == name)


def probe_readiness_at_once(container: dict[str, Any]) -> None:
    """Let the kubelet probe the readiness of a container from its start on, every 5 seconds.

    Upstream delays the first probe by up to 20 seconds. A Deployment counts as created when it is ready.
    """
    container["readinessProbe"] |= {"initialDelaySeconds": 0, "periodSeconds": 5}


def create(
    manifests: Iterable[Manifest], cluster: Cluster, *depends_on: pulumi.Resource, prefix: str = ""
) -> list[pulumi.Resource]:
    """Create one typed resource for each manifest: namespaces, then rights and settings, then pods, then APIs.

    Each resource waits for those of the stages before; pods and APIs also wait for `depends_on`. The names of resources
    in Pulumi are those in Kubernetes, with `prefix` in front where they do not contain it.

    Returns:
        All resources.
    """
    created: list[pulumi.Resource] = []
    objects = list(manifests)
    for stage in range(len(_STAGES)):
        extra = depends_on if stage > 1 else ()
        options = cluster.options(*created, *extra)
        created += [_create(each, prefix, options) for each in objects if _stage(each["kind"]) == stage]
    return created


@cache
def _types() -> dict[str, Any]:
    """Return the classes of resources by kind.

    Their import takes most of a second, which a stack without a cluster does not need.
    """
    return {
        "APIService": kubernetes.apiregistration.v1.APIService,
        "ClusterRole": kubernetes.rbac.v1.ClusterRole,
        "ClusterRoleBinding": kubernetes.rbac.v1.ClusterRoleBinding,
        "ConfigMap": kubernetes.core.v1.ConfigMap,
        "CustomResourceDefinition": kubernetes.apiextensions.v1.CustomResourceDefinition,
        "DaemonSet": kubernetes.apps.v1.DaemonSet,
        "Deployment": kubernetes.apps.v1.Deployment,
        "Namespace": kubernetes.core.v1.Namespace,
        "Role": kubernetes.rbac.v1.Role,
        "RoleBinding": kubernetes.rbac.v1.RoleBinding,
        "Service": kubernetes.core.v1.Service,
        "ServiceAccount": kubernetes.core.v1.ServiceAccount,
    }


def _stage(kind: str) -> int:
    return next((number for number, kinds in enumerate(_STAGES) if kind in kinds), 1)


def _create(manifest: Manifest, prefix: str, options: pulumi.ResourceOptions) -> pulumi.Resource:
    name: str = manifest["metadata"]["name"]
    if manifest["kind"] == "Service":
        manifest["metadata"].setdefault("annotations", {}).update(SKIP_AWAIT)
    properties = {_snake_case(key): value for key, value in manifest.items() if key not in ("apiVersion", "kind")}
    resource: pulumi.Resource = _types()[manifest["kind"]](
        name if prefix in name else f"{prefix}-{name}", **properties, opts=options
    )
    return resource


def _snake_case(key: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", key).lower()
