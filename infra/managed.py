"""A cluster that somebody else runs: one that exists, by its kubeconfig, or one made in Azure Kubernetes Service."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pulumi

from infra.cluster import Cluster, provider
from infra.cluster_facts import ClusterFacts
from infra.kubeconfig import kubeconfig
from infra.registry import Registry
from settings import Infra


@dataclass(frozen=True)
class Managed:
    """A cluster of a vendor, and what came with it.

    `storage_class` is the vendor's default one, "" where the cluster has none.
    """

    cluster: Cluster
    storage_class: pulumi.Output[str]
    registry: Registry | None = None
    push_registry: Registry | None = None
    """The same one, for who builds images."""


def managed_cluster(settings: Infra, stack: str) -> Managed:
    """The cluster of the settings. Nothing is installed in it here: network and nodes are its vendor's.

    Raises:
        SettingsError: the kubeconfig cannot be used, or Azure's settings cannot.
    """
    if settings.azure and settings.azure.aks:
        # Its SDK takes five seconds to load.
        from infra.azure_cluster import aks_site

        site = aks_site(settings.azure, settings.azure.aks, stack)
        managed = _managed(stack, site.kubeconfig, site.resource)
        return replace(managed, registry=site.registry, push_registry=site.push_registry)
    assert settings.existing is not None  # the settings see to it
    return _managed(stack, pulumi.Output.secret(kubeconfig(settings.existing)))


def _managed(
    name: str,
    config: pulumi.Output[str],
    resource: pulumi.Resource | None = None,
) -> Managed:
    facts = ClusterFacts("cluster-facts", config, pulumi.ResourceOptions(deleted_with=resource))
    cluster = Cluster(
        name=name,
        kubeconfig=config,
        provider=provider(name, config, resource),
        endpoint=facts.endpoint,
        nodes=facts.nodes,
        depends_on=[facts],
        resource=resource,
    )
    return Managed(cluster, facts.storage_class)
