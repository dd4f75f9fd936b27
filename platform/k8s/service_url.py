"""Services in a cluster: their address outside of it, by the type that the settings choose."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from infra.cluster import Cluster
from settings.types import ServiceType


def service_url(
    service: kubernetes.core.v1.Service, kind: ServiceType, cluster: Cluster, inside: str
) -> pulumi.Output[str]:
    """`http://host:port` of a Service with one port; that of `ClusterIP` is `inside`, good in the cluster alone."""
    if kind == "LoadBalancer":
        return pulumi.Output.all(service.status, service.spec).apply(lambda found: _balanced(*found))
    if kind == "NodePort":
        return pulumi.Output.all(cluster.nodes, service.spec).apply(lambda found: _at_a_node(*found))
    return pulumi.Output.from_input(inside)


def _balanced(status: Any, spec: Any) -> str:
    first = status["load_balancer"]["ingress"][0]
    return f"http://{first.get('ip') or first['hostname']}:{spec['ports'][0]['port']}"


def _at_a_node(nodes: list[dict[str, Any]], spec: Any) -> str:
    """Any node will do; the control plane is the last to be taken away."""
    node = min(nodes, key=lambda node: node["role"] != "control-plane")
    return f"http://{node['external_address']}:{spec['ports'][0]['node_port']}"
