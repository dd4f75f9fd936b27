"""A cluster that somebody else runs: one that exists, by its kubeconfig, or one made in Azure Kubernetes Service."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from infra.blob_account import BlobAccount
from infra.cluster import Cluster, provider, wait_for_api_server
from infra.kubeconfig import kubeconfig
from infra.managed.cluster_facts import ClusterFacts, RequiredFeatures
from infra.registry import ContainerRegistry
from settings.infra import InfraSettings


@dataclass(frozen=True)
class ManagedCluster:
    """A cluster of a vendor, and what this stack made beside it."""

    cluster: Cluster
    registry: ContainerRegistry | None = None
    storage: BlobAccount | None = None


def managed_cluster(settings: InfraSettings, stack: str, expected: RequiredFeatures) -> ManagedCluster:
    """The cluster of the settings. Nothing is installed in it here: network and nodes are its vendor's.

    Args:
        expected: what its vendor is to have put into it.

    Raises:
        SettingsError: the kubeconfig cannot be used, or Azure's settings cannot.
    """
    if settings.azure and settings.azure.aks:
        # Its SDK takes five seconds to load.
        from infra.azure.aks import aks_site

        site = aks_site(settings.azure, settings.azure.aks, stack)
        cluster = _cluster(stack, site.kubeconfig, expected, site.resource)
        return ManagedCluster(cluster, site.registry, site.storage)
    assert settings.existing is not None  # the settings see to it
    return ManagedCluster(_cluster(stack, pulumi.Output.secret(kubeconfig(settings.existing)), expected))


def _cluster(
    name: str,
    config: pulumi.Output[str],
    expected: RequiredFeatures,
    resource: pulumi.Resource | None = None,
) -> Cluster:
    facts = ClusterFacts("cluster-facts", config, expected, pulumi.ResourceOptions(deleted_with=resource))
    return Cluster(
        name=name,
        kubeconfig=config,
        provider=provider(name, wait_for_api_server(config), resource),
        endpoint=facts.endpoint,
        nodes=facts.nodes,
        depends_on=[facts],
        resource=resource,
        storage_class=facts.storage_class,
    )
