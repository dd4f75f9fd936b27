"""A cluster that a vendor operates: an existing one, by its kubeconfig, or one created in Azure Kubernetes Service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pulumi

from infra.blob_account import BlobAccount
from infra.cluster import Cluster, Node, provider, wait_for_api_server
from infra.kubeconfig import kubeconfig
from infra.managed.cluster_facts import ClusterFacts, RequiredFeatures
from infra.registry import ContainerRegistry
from settings.infra import InfraSettings


@dataclass(frozen=True)
class ManagedCluster:
    """A cluster of a vendor, and the registry and storage that this stack created for it."""

    cluster: Cluster
    registry: ContainerRegistry | None = None
    storage: BlobAccount | None = None


def managed_cluster(settings: InfraSettings, stack: str, required: RequiredFeatures) -> ManagedCluster:
    """Return the cluster of the settings. Nothing is installed in it: the vendor operates its network and nodes.

    Args:
        settings: of the infrastructure.
        stack: name of the stack.
        required: features that the vendor's cluster must have.

    Raises:
        SettingsError: the kubeconfig cannot be used, or Azure's settings cannot.
    """
    if settings.azure and settings.azure.aks:
        # The SDK takes five seconds to import.
        from infra.azure.aks import AksSite

        site = AksSite("azure", settings=settings.azure, aks=settings.azure.aks, stack=stack)
        cluster = _cluster(stack, site.kubeconfig, required, site.cluster)
        return ManagedCluster(cluster, site.registry, site.storage)
    assert settings.existing is not None  # checked by the settings
    return ManagedCluster(_cluster(stack, pulumi.Output.secret(kubeconfig(settings.existing)), required))


def _cluster(
    name: str,
    config: pulumi.Output[str],
    required: RequiredFeatures,
    resource: pulumi.Resource | None = None,
) -> Cluster:
    facts = ClusterFacts("cluster-facts", config, required, pulumi.ResourceOptions(deleted_with=resource))
    return Cluster(
        name=name,
        kubeconfig=config,
        provider=provider(name, wait_for_api_server(config), resource, upsert=resource is not None),
        endpoint=facts.endpoint,
        nodes=cast("pulumi.Output[list[Node]]", facts.nodes),
        depends_on=[facts],
        resource=resource,
        storage_class=facts.storage_class,
    )
