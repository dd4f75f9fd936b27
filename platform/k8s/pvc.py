"""Volumes of pods, of the cluster's default storage class."""

from __future__ import annotations

from typing import Any

import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace


def persistent_volume_claim(
    name: str, room: Namespace, labels: dict[str, str], size_gb: int
) -> kubernetes.core.v1.PersistentVolumeClaim:
    """A volume for one pod at a time; it is bound when the first pod takes it, so nobody waits for that."""
    metadata: dict[str, Any] = {"name": name, "namespace": room.name, "labels": labels}
    return kubernetes.core.v1.PersistentVolumeClaim(
        name,
        metadata=metadata | {"annotations": {"pulumi.com/skipAwait": "true"}},
        spec={
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": room.cluster.storage_class,
            "resources": {"requests": {"storage": f"{size_gb}Gi"}},
        },
        opts=room.options(),
    )
