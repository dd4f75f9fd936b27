"""Limits of a namespace whose pods come from the authors of pipelines."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace

PODS = 100
"""Most pods that run at once in a namespace."""


def quota(
    namespace: Namespace, *refused: str, limits: Mapping[str, str] = {}
) -> list[kubernetes.core.v1.ResourceQuota | kubernetes.core.v1.LimitRange]:
    """Limit the pods at once, refuse objects of the kinds `refused`, and give limits to containers that set none.

    `limits` are further limits of a ResourceQuota.
    """
    name = f"{namespace.name}-limits"
    metadata = {"name": "limits", "namespace": namespace.name}
    return [
        kubernetes.core.v1.ResourceQuota(
            name,
            metadata=metadata,
            spec={"hard": {"pods": str(PODS), **dict.fromkeys(refused, "0"), **limits}},
            opts=namespace.options(),
        ),
        kubernetes.core.v1.LimitRange(
            name,
            metadata=metadata,
            spec={
                "limits": [
                    {
                        "type": "Container",
                        "defaultRequest": {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "100Mi"},
                        "default": {"cpu": "2", "memory": "2Gi", "ephemeral-storage": "10Gi"},
                    }
                ]
            },
            opts=namespace.options(),
        ),
    ]
