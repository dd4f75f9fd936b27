"""Clusters that are ready for the platform: nodes, network, storage, registry and load balancer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.addons.metallb import MetalLb
from mlplatform.addons.metrics_server import MetricsServer
from mlplatform.addons.node_watch import NodeWatch
from mlplatform.addons.openebs import OpenEbs
from mlplatform.addons.pod_network import pod_network
from mlplatform.cluster_objects import created_objects
from mlplatform.k8s.owned_objects import owner_labels
from mlplatform.k8s.ownership import ObjectOwnership

from infra.blob_account import BlobAccount
from infra.cluster import Cluster
from infra.kubeadm import KubeadmCluster
from infra.managed.cluster_facts import RequiredFeatures
from infra.managed.managed_cluster import managed_cluster
from infra.provisioning import provision_machines
from infra.registry import ContainerRegistry, container_registry
from settings.stack import StackSettings


@dataclass(frozen=True)
class ProvisionedCluster:
    """A cluster, its registry, and the outputs of the stack for both.

    `address` is this computer's address on the machines' network, None if it has none. Servers that listen on it wait
    for `network`. `storage` is the account for data sets that was created with the cluster, if any.
    """

    cluster: Cluster
    registry: ContainerRegistry
    outputs: dict[str, pulumi.Input[Any]]
    address: str | None = None
    network: Sequence[pulumi.Resource] = ()
    storage: BlobAccount | None = None


def provision_kubeadm_cluster(settings: StackSettings, stack: str, directory: Path) -> ProvisionedCluster:
    """Create the machines, a cluster of them with kubeadm, and its add-ons."""
    provisioned = provision_machines(settings.infra, stack, directory)
    registry = provisioned.registry or container_registry(
        settings.platform.registry, provisioned.address, directory, provisioned.network
    )
    kubeadm = KubeadmCluster(
        stack,
        machines=provisioned.machines,
        settings=settings.infra.kubernetes,
        registry=registry,
        endpoint=provisioned.endpoint,
        virtual_address=provisioned.virtual_address,
        network=settings.platform.network,
        proxy=settings.infra.proxy,
    )
    network = pod_network(settings.platform, settings.infra.kubernetes, kubeadm.bootstrap_view())
    cluster = kubeadm.ready_cluster([network])
    volumes = OpenEbs(cluster, is_default=True)
    addons: list[pulumi.Resource] = [volumes, MetricsServer(cluster), NodeWatch(cluster)]
    if settings.platform.load_balancer:
        addons.append(MetalLb(settings.platform.load_balancer, cluster))
    return ProvisionedCluster(
        cluster=replace(
            cluster.after(*addons),
            storage_class=volumes.storage_class,
            retain_volumes=settings.platform.retain_volumes,
            # The first address of the range is that of the API server's Service.
            api_addresses=[str(settings.infra.kubernetes.service_subnet[1])],
        ),
        registry=registry,
        address=provisioned.address,
        network=provisioned.network,
        storage=provisioned.storage,
        outputs={
            "kubeconfig": kubeadm.kubeconfig,
            "api_endpoint": kubeadm.endpoint,
            "certificates_expire": kubeadm.certificates_expire,
            "nodes": cluster.nodes,
            "registry_url": pulumi.Output.concat("https://", registry.host),
            "storage_class": volumes.storage_class,
            "network": {
                "name": network.network,
                "encrypted": network.encrypted,
                "network_policies": network.network_policies,
            },
            # `make ssh` connects to machines with these.
            "machines": pulumi.Output.secret([machine.properties for machine in provisioned.machines]),
        },
    )


def provision_managed_cluster(settings: StackSettings, stack: str, directory: Path) -> ProvisionedCluster:
    """Use or create a vendor's cluster, and add what the vendor does not provide.

    The vendor provides nodes and the network. MetalLB, OpenEBS and metrics-server are added if the settings name them.
    """
    platform = settings.platform
    openebs = platform.storage == "openebs"
    required = RequiredFeatures(
        volumes=not openebs, storage_class=platform.storage_class or "", metrics=platform.metrics == "vendor"
    )
    managed = managed_cluster(settings.infra, stack, required)
    cluster = _owned(managed.cluster, settings, stack)
    registry = managed.registry or container_registry(platform.registry, None, directory, ())
    addons: list[pulumi.Resource] = []
    if openebs:
        volumes = OpenEbs(cluster, is_default=False)
        addons.append(volumes)
        cluster = replace(cluster, storage_class=volumes.storage_class)
    if platform.load_balancer:
        addons.append(MetalLb(platform.load_balancer, cluster))
    if platform.metrics == "own":
        addons.append(MetricsServer(cluster))
    return ProvisionedCluster(
        cluster=cluster.after(*addons),
        registry=registry,
        storage=managed.storage,
        outputs={
            "kubeconfig": cluster.kubeconfig,
            "api_endpoint": cluster.endpoint,
            "nodes": cluster.nodes,
            "registry_url": pulumi.Output.concat("https://", registry.host),
            "storage_class": pulumi.Output.from_input(cluster.storage_class),
        },
    )


def _owned(cluster: Cluster, settings: StackSettings, stack: str) -> Cluster:
    """Return the cluster for this stack's objects, once no object of another owner is in their place."""
    labels = owner_labels(pulumi.get_project(), stack)
    ownership = ObjectOwnership(
        "cluster-ownership",
        cluster.kubeconfig,
        labels,
        created_objects(settings),
        pulumi.ResourceOptions(depends_on=list(cluster.depends_on), deleted_with=cluster.resource),
    )
    return replace(
        cluster.after(ownership),
        labels=labels,
        claim_classes=ownership.claim_classes,
        api_addresses=ownership.api_addresses,
        retain_volumes=settings.platform.retain_volumes,
    )
