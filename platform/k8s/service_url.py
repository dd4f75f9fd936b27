"""Addresses of Services outside the cluster."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes

from infra.cluster import Cluster
from settings.types import ServiceType


def service_url(
    service: kubernetes.core.v1.Service, kind: ServiceType, cluster: Cluster, inside: str
) -> pulumi.Output[str]:
    """Return `http://host:port` of a Service with one port.

    A Service of the type ClusterIP has no address outside the cluster, so its URL is `inside`, the one for pods.
    """
    if kind == "LoadBalancer":
        return pulumi.Output.all(service.status, service.spec).apply(lambda known: _load_balancer_url(*known))
    if kind == "NodePort":
        return pulumi.Output.all(cluster.nodes, service.spec).apply(lambda known: _node_port_url(*known))
    return pulumi.Output.from_input(inside)


def _load_balancer_url(status: Any, spec: Any) -> str:
    first = status["load_balancer"]["ingress"][0]
    return f"http://{first.get('ip') or first['hostname']}:{spec['ports'][0]['port']}"


def _node_port_url(nodes: list[dict[str, Any]], spec: Any) -> str:
    """Return the URL at the control plane, or at a worker if no node has that role: workers are removed more often."""
    node = min(nodes, key=lambda node: node["role"] != "control-plane")
    return f"http://{node['external_address']}:{spec['ports'][0]['node_port']}"
