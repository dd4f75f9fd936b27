"""A cluster that is ready for a platform: from machines to network, storage, registry and load balancer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.addons.metallb import load_balancer
from mlplatform.addons.metrics_server import metrics_server
from mlplatform.addons.openebs import storage
from mlplatform.addons.pod_network import pod_network

from infra.blob_account import BlobAccount
from infra.cluster import Cluster
from infra.kubeadm.kubeadm_cluster import KubeadmCluster
from infra.managed.cluster_facts import RequiredFeatures
from infra.managed.managed_cluster import managed_cluster
from infra.provisioning import provision_machines
from infra.registry import ContainerRegistry, container_registry
from settings.stack import Settings


@dataclass(frozen=True)
class ProvisionedCluster:
    """A cluster, its registry, and what the stack says of both.

    `address` is this computer's own on the machines' network, None where it is elsewhere; what this computer serves
    there waits for `pod_network`. `storage` is an account for data sets that came with the cluster.
    """

    cluster: Cluster
    registry: ContainerRegistry
    outputs: dict[str, pulumi.Input[Any]]
    address: str | None = None
    network: Sequence[pulumi.Resource] = ()
    storage: BlobAccount | None = None


def provision_kubeadm_cluster(settings: Settings, stack: str, directory: Path) -> ProvisionedCluster:
    """Machines, a cluster of them by kubeadm, and the base of a platform in it."""
    found = provision_machines(settings.infra, stack, directory)
    private = found.registry or container_registry(settings.platform.registry, found.address, directory, found.network)
    kubeadm = KubeadmCluster(
        stack,
        machines=found.machines,
        settings=settings.infra.kubernetes,
        registry=private,
        endpoint=found.endpoint,
    )
    pods = pod_network(settings.platform, settings.infra.kubernetes, kubeadm.before_ready())
    cluster = kubeadm.cluster(pods.resources)
    volumes = storage(cluster, is_default=True)
    addresses = load_balancer(settings.platform.load_balancer, cluster) if settings.platform.load_balancer else []
    metrics = metrics_server(cluster)
    return ProvisionedCluster(
        cluster=replace(cluster.after(*volumes.resources, *addresses, *metrics), storage_class=volumes.storage_class),
        registry=private,
        address=found.address,
        network=found.network,
        storage=found.storage,
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


def provision_managed_cluster(settings: Settings, stack: str, directory: Path) -> ProvisionedCluster:
    """A cluster that somebody else runs, and in it what of a platform's base its vendor leaves to us.

    Network, nodes and addresses of Services are the vendor's. Addresses by MetalLB, volumes by OpenEBS and a
    metrics-server come in where the settings ask for them.
    """
    wanted = settings.platform
    ours = wanted.storage == "openebs"
    expected = RequiredFeatures(
        volumes=not ours, storage_class=wanted.storage_class or "", metrics=wanted.metrics == "vendor"
    )
    managed = managed_cluster(settings.infra, stack, expected)
    cluster = managed.cluster
    private = managed.registry or container_registry(wanted.registry, None, directory, ())
    put: list[pulumi.Resource] = []
    if ours:
        volumes = storage(cluster, is_default=False)
        put += volumes.resources
        cluster = replace(cluster, storage_class=volumes.storage_class)
    if wanted.load_balancer:
        put += load_balancer(wanted.load_balancer, cluster)
    if wanted.metrics == "own":
        put += metrics_server(cluster)
    return ProvisionedCluster(
        cluster=cluster.after(*put),
        registry=private,
        storage=managed.storage,
        outputs={
            "kubeconfig": cluster.kubeconfig,
            "api_endpoint": cluster.endpoint,
            "nodes": cluster.nodes,
            "registry_url": pulumi.Output.concat("https://", private.host),
            "storage_class": pulumi.Output.from_input(cluster.storage_class),
        },
    )
