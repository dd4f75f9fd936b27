"""A cluster that is ready for a platform: from machines to network, storage, registry and load balancer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.load_balancer import load_balancer
from mlplatform.metrics import metrics_server
from mlplatform.network import network
from mlplatform.storage import storage

from infra.cluster import Cluster
from infra.kubeadm import Kubeadm
from infra.machines import machines
from infra.registry import Registry, registry
from settings import Settings


@dataclass(frozen=True)
class Foundation:
    """A cluster, its registry, and what the stack says of both.

    `address` is this computer's own on the machines' network, None where it is elsewhere.
    """

    cluster: Cluster
    registry: Registry
    address: str | None
    outputs: dict[str, pulumi.Input[Any]]


def kubeadm_foundation(settings: Settings, stack: str, directory: Path) -> Foundation:
    """Machines, a cluster of them by kubeadm, and the base of a platform in it."""
    found = machines(settings.infra, stack, directory)
    private = found.registry or registry(settings.platform.registry, found.address, directory, found.network)
    kubeadm = Kubeadm(
        stack,
        machines=found.machines,
        settings=settings.infra.kubernetes,
        registry=private,
        endpoint=found.endpoint,
    )
    pods = network(settings.platform, settings.infra.kubernetes, kubeadm.before_ready())
    cluster = kubeadm.cluster(pods.resources)
    volumes = storage(cluster)
    addresses = load_balancer(settings.platform.load_balancer, cluster) if settings.platform.load_balancer else []
    metrics = metrics_server(cluster)
    return Foundation(
        cluster=replace(cluster.after(*volumes.resources, *addresses, *metrics), storage_class=volumes.storage_class),
        registry=private,
        address=found.address,
        outputs={
            "kubeconfig": kubeadm.kubeconfig,
            "api_endpoint": kubeadm.endpoint,
            "certificates_expire": kubeadm.certificates_expire,
            "nodes": cluster.nodes,
            "registry_url": pulumi.Output.concat("https://", private.host),
            "storage_class": volumes.storage_class,
            "network": {
                "name": pods.name,
                "encrypted": pods.encrypted,
                "network_policies": pods.network_policies,
            },
            # For `make ssh`: how to reach each machine.
            "machines": pulumi.Output.secret([machine.properties for machine in found.machines]),
        },
    )
