"""Names, labels and rights that all of monitoring shares."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
from mlplatform.k8s.namespace import Namespace, Rule, tcp_ports
from mlplatform.k8s.rbac import namespace_rights

from settings.paths import VERSIONS

NAMESPACE = "mlplatform-monitoring"
PROMETHEUS = "prometheus"
"""The name of Prometheus' pods, Service and service account."""
PROMETHEUS_PORT = 9090
"""The port of Prometheus' pods."""
_VERSIONS = VERSIONS["monitoring"]
IMAGES = {
    PROMETHEUS: f"docker.io/prom/prometheus:{_VERSIONS['prometheus']}",
    "node-exporter": f"quay.io/prometheus/node-exporter:{_VERSIONS['node-exporter']}",
    "kube-state-metrics": f"registry.k8s.io/kube-state-metrics/kube-state-metrics:{_VERSIONS['kube-state-metrics']}",
    "alertmanager": f"quay.io/prometheus/alertmanager:{_VERSIONS['alertmanager']}",
}


def labels(name: str) -> dict[str, str]:
    """Return the labels of the objects of a component."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "monitoring"}


def metadata(name: str, namespace: str = NAMESPACE) -> dict[str, Any]:
    """Return the metadata of an object that has the name of its component."""
    return {"name": name, "namespace": namespace, "labels": labels(name)}


def from_prometheus(port: int) -> Rule:
    """Return the ingress rule that allows Prometheus to connect to this port."""
    return {
        "from": [
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
                "podSelector": {"matchLabels": labels(PROMETHEUS)},
            }
        ],
        **tcp_ports(port),
    }


def grant_pod_discovery(namespace: Namespace) -> None:
    """Grant Prometheus the right to list the pods of a namespace."""
    account = {"name": PROMETHEUS, "namespace": NAMESPACE}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    role = {"name": PROMETHEUS, "namespace": namespace.name}
    namespace_rights(f"{namespace.name}-{PROMETHEUS}", role, account, rules, namespace.options())


def allow_scrape(namespace: str, pods: dict[str, str], port: int, opts: pulumi.ResourceOptions) -> None:
    """Allow Prometheus to connect to this port of the pods with these labels."""
    kubernetes.networking.v1.NetworkPolicy(
        f"{namespace}-{PROMETHEUS}",
        metadata={"name": PROMETHEUS, "namespace": namespace},
        spec={"podSelector": {"matchLabels": pods}, "policyTypes": ["Ingress"], "ingress": [from_prometheus(port)]},
        opts=opts,
    )
