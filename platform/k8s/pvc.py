"""Persistent volumes of pods."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace
from mlplatform.k8s.waiting import SKIP_AWAIT


def persistent_volume_claim(
    name: str, namespace: Namespace, labels: Mapping[str, str], size_gb: int
) -> kubernetes.core.v1.PersistentVolumeClaim:
    """Claim a volume of the cluster's storage class for one pod; `size_gb` is in GiB.

    A claim keeps the class that it was created with: with another class, Pulumi would replace it and lose its data.
    """
    cluster = namespace.cluster
    key = f"{namespace.name}/{name}"
    storage_class = pulumi.Output.all(default=cluster.storage_class, existing=cluster.claim_classes).apply(
        lambda classes: classes["existing"].get(key, classes["default"])
    )
    return kubernetes.core.v1.PersistentVolumeClaim(
        name,
        # The claim is bound only when its first pod is scheduled, so Pulumi must not wait for it.
        metadata=namespace.metadata(name, labels, SKIP_AWAIT),
        spec={
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage_class,
            "resources": {"requests": {"storage": f"{size_gb}Gi"}},
        },
        opts=pulumi.ResourceOptions.merge(
            namespace.options(),
            pulumi.ResourceOptions(ignore_changes=["spec.storageClassName"], retain_on_delete=cluster.retain_volumes),
        ),
    )
