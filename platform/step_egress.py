"""Network rules of the steps of pipelines, whose authors choose the addresses that they read data from."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pulumi
from mlplatform.k8s.namespace import DNS, METADATA_SERVICES, Rule, tcp_ports
from mlplatform.mlflow import NAMESPACE
from mlplatform.mlflow_pod import CONTAINER_PORT
from mlplatform.monitoring import scraping

from infra.cluster import Cluster


def step_egress(cluster: Cluster, allowed: Sequence[ipaddress.IPv4Network]) -> list[pulumi.Input[Rule]]:
    """Return the egress rules of steps: name servers, MLflow, Prometheus, and `allowed` without closed addresses.

    Closed are the metadata services of clouds, the nodes, and the API server. A range within a closed one is allowed.
    """
    rules: list[pulumi.Input[Rule]] = [
        DNS,
        # Some networks do not apply rules with addresses to pods.
        _pods_of(NAMESPACE, CONTAINER_PORT),
        _pods_of(scraping.NAMESPACE, scraping.PROMETHEUS_PORT),
    ]
    if not allowed:  # a rule without peers would allow all addresses
        return rules
    addresses = pulumi.Output.all(nodes=cluster.nodes, api=cluster.api_addresses).apply(
        lambda known: [*_node_addresses(known["nodes"]), *known["api"]]
    )
    return [*rules, addresses.apply(lambda known: _open_rule(allowed, known))]


def _pods_of(namespace: str, port: int) -> Rule:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    return {"to": [{"namespaceSelector": selector}], **tcp_ports(port)}


def _node_addresses(nodes: Sequence[dict[str, str]]) -> list[str]:
    return [node[field] for node in nodes for field in ("address", "external_address")]


def _open_rule(allowed: Sequence[ipaddress.IPv4Network], addresses: Sequence[str]) -> Rule:
    closed = {ipaddress.IPv4Network(each) for each in METADATA_SERVICES}
    closed |= {network for address in addresses if (network := _network(address))}
    peers = []
    for cidr in allowed:
        within = [str(each) for each in sorted(closed) if each != cidr and each.subnet_of(cidr)]
        peers.append({"ipBlock": {"cidr": str(cidr), **({"except": within} if within else {})}})
    return {"to": peers}


def _network(address: str) -> ipaddress.IPv4Network | None:
    """Return the address as a network, None for a host name, which a rule cannot name."""
    try:
        return ipaddress.IPv4Network(address)
    except ValueError:
        return None
