"""What the parts of monitoring have in common."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace

from settings.paths import VERSIONS

NAMESPACE = "mlplatform-monitoring"
PROMETHEUS = "prometheus"
"""Of its pod's label, its Service and its service account."""
_VERSIONS = VERSIONS["monitoring"]
IMAGES = {
    PROMETHEUS: f"docker.io/prom/prometheus:{_VERSIONS['prometheus']}",
    "node-exporter": f"quay.io/prometheus/node-exporter:{_VERSIONS['node-exporter']}",
    "kube-state-metrics": f"registry.k8s.io/kube-state-metrics/kube-state-metrics:{_VERSIONS['kube-state-metrics']}",
    "alertmanager": f"quay.io/prometheus/alertmanager:{_VERSIONS['alertmanager']}",
}


def labels(name: str) -> dict[str, str]:
    """Of the pods of a part."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "monitoring"}


def metadata(name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Of a resource that is named after its part."""
    return {"name": name, "namespace": namespace, "labels": labels(name)}


def from_prometheus(port: int) -> dict[str, Any]:
    """An ingress rule of a network policy: what Prometheus reads."""
    return {
        "from": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "podSelector": {"matchLabels": labels(PROMETHEUS)},
            }
        ],
        "ports": [{"protocol": "TCP", "port": port}],
    }


def grant_pod_discovery(room: Namespace) -> None:
    """Let Prometheus see which pods a namespace has."""
    name, about = f"{room.name}-{PROMETHEUS}", {"name": PROMETHEUS, "namespace": room.name}
    role = kubernetes.rbac.v1.Role(
        name,
        metadata=about,
        rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}],
        opts=room.options(),
    )
    kubernetes.rbac.v1.RoleBinding(
        name,
        metadata=about,
        role_ref={"kind": "Role", "name": PROMETHEUS, "apiGroup": "rbac.authorization.k8s.io"},
        subjects=[{"kind": "ServiceAccount", "name": PROMETHEUS, "namespace": NAMESPACE}],
        opts=room.options(role),
    )


def allow_scrape(namespace: str, pods: dict[str, str], port: int, opts: pulumi.ResourceOptions) -> None:
    """Let Prometheus read from pods of a namespace that is closed otherwise."""
    kubernetes.networking.v1.NetworkPolicy(
        f"{namespace}-{PROMETHEUS}",
        metadata={"name": PROMETHEUS, "namespace": namespace},
        spec={"podSelector": {"matchLabels": pods}, "policyTypes": ["Ingress"], "ingress": [from_prometheus(port)]},
        opts=opts,
    )
