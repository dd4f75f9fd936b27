"""StatefulSets whose pods are members of a replicated store: one on each node, each with a volume."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.deployment import MountedSettings, settings_digest
from mlplatform.k8s.namespace import Namespace
from mlplatform.k8s.pod import Pod
from mlplatform.k8s.waiting import AWAIT_MEMBER, SKIP_AWAIT

DATA = "data"
"""Name of the volume of each pod."""
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
TOLERATIONS = [
    {"key": CONTROL_PLANE, "operator": "Exists", "effect": "NoSchedule"},
    # The volume of a pod is on its node, so the pod waits there until the node returns.
    *(
        {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute"}
        for key in ("not-ready", "unreachable")
    ),
]
"""Tolerations of pods of a StatefulSet of this module."""


def stateful_set(
    name: str,
    namespace: Namespace,
    labels: Mapping[str, str],
    pod: Pod,
    *depends_on: pulumi.Resource,
    replicas: int,
    size_gb: int,
    settings: Sequence[MountedSettings] = (),
) -> kubernetes.apps.v1.StatefulSet:
    """Create a StatefulSet with at most one pod on a node, on a control plane only if there are too few workers.

    The pod mounts its volume by the name `DATA`.

    Args:
        name: name of the StatefulSet and of the headless Service with the addresses of its pods.
        namespace: its namespace.
        labels: labels that identify its pods.
        pod: its pod, without the volume `DATA`.
        *depends_on: resources that exist before the StatefulSet.
        replicas: number of pods.
        size_gb: size of each volume in GiB.
        settings: objects that the containers read only at their start, so changed content replaces the pods in turn.
    """
    cluster = namespace.cluster
    other_nodes = {"labelSelector": {"matchLabels": dict(labels)}, "topologyKey": "kubernetes.io/hostname"}
    workers = {"matchExpressions": [{"key": CONTROL_PLANE, "operator": "DoesNotExist"}]}
    affinity = {
        "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [other_nodes]},
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": workers}]},
    }
    metadata: dict[str, Any] = {"labels": dict(labels), "annotations": {"settings": settings_digest(settings)}}
    return kubernetes.apps.v1.StatefulSet(
        name,
        metadata=namespace.metadata(name, labels, AWAIT_MEMBER),
        spec={
            "replicas": replicas,
            "serviceName": name,
            # The first members need each other before they are ready.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": dict(labels)},
            "template": {"metadata": metadata, "spec": pod.manifest() | {"affinity": affinity}},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": DATA, "labels": {**labels, **cluster.labels}},
                    "spec": {
                        "accessModes": ["ReadWriteOnce"],
                        "storageClassName": cluster.storage_class,
                        "resources": {"requests": {"storage": f"{size_gb}Gi"}},
                    },
                }
            ],
        },
        opts=pulumi.ResourceOptions.merge(
            namespace.options(*settings, *depends_on),
            # Kubernetes refuses a change of the claims of a StatefulSet.
            pulumi.ResourceOptions(ignore_changes=["spec.volumeClaimTemplates"]),
        ),
    )


def headless_service(
    name: str, namespace: Namespace, labels: Mapping[str, str], selector: Mapping[str, str] | None = None
) -> kubernetes.core.v1.Service:
    """Create a Service without an address.

    It gives each pod that `selector` matches a host name, also before the pod is ready.
    """
    return kubernetes.core.v1.Service(
        name,
        metadata=namespace.metadata(name, labels, SKIP_AWAIT),
        spec={
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            **({"selector": dict(selector)} if selector else {}),
        },
        opts=namespace.options(),
    )
