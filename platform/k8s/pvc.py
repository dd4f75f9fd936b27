"""Persistent volumes of pods."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace


def persistent_volume_claim(
    name: str, namespace: Namespace, labels: Mapping[str, str], size_gb: int
) -> kubernetes.core.v1.PersistentVolumeClaim:
    """Claim a volume of the cluster's storage class for one pod; `size_gb` is in GiB."""
    return kubernetes.core.v1.PersistentVolumeClaim(
        name,
        metadata={
            "name": name,
            "namespace": namespace.name,
            "labels": dict(labels),
            # The claim is bound only when its first pod is scheduled, so Pulumi must not wait for it.
            "annotations": {"pulumi.com/skipAwait": "true"},
        },
        spec={
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": namespace.cluster.storage_class,
            "resources": {"requests": {"storage": f"{size_gb}Gi"}},
        },
        opts=namespace.options(),
    )
