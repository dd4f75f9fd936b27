"""A cluster of Azure Kubernetes Service: its control plane, network and storage are Azure's to run."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pulumi
from pulumi_azure_native import containerservice

from infra.azure.context import AzureContext, azure_context
from infra.azure.services import azure_registry, azure_storage
from infra.blob_account import BlobAccount
from infra.registry import ContainerRegistry
from settings.infra import AksSettings, AzureSettings


@dataclass(frozen=True)
class AksSite:
    """What a stack with a managed cluster has in Azure. `kubeconfig` is secret."""

    kubeconfig: pulumi.Output[str]
    resource: pulumi.Resource
    registry: ContainerRegistry | None
    storage: BlobAccount | None


def aks_site(settings: AzureSettings, aks: AksSettings, stack: str) -> AksSite:
    """The cluster, with registry and storage where these are asked for.

    Raises:
        SettingsError: the operator's address is one for documentation, and this is no preview.
    """
    place = azure_context(settings, stack)
    cluster = _cluster(place, aks, stack)
    credentials = containerservice.list_managed_cluster_user_credentials_output(
        resource_group_name=place.group.name, resource_name=cluster.name
    )
    kubeconfig = credentials.apply(lambda answer: base64.b64decode(answer.kubeconfigs[0].value).decode())
    return AksSite(
        kubeconfig=pulumi.Output.secret(kubeconfig),
        resource=cluster,
        registry=azure_registry(place) if settings.registry else None,
        storage=azure_storage(settings.storage, place) if settings.storage else None,
    )


def _cluster(place: AzureContext, aks: AksSettings, stack: str) -> containerservice.ManagedCluster:
    settings = place.settings
    return containerservice.ManagedCluster(
        "cluster",
        dns_prefix=stack,
        kubernetes_version=aks.version,
        sku=containerservice.ManagedClusterSKUArgs(name="Base", tier="Free"),
        identity=containerservice.ManagedClusterIdentityArgs(
            type=containerservice.ResourceIdentityType.SYSTEM_ASSIGNED
        ),
        enable_rbac=True,
        api_server_access_profile=containerservice.ManagedClusterAPIServerAccessProfileArgs(
            authorized_ip_ranges=[str(source) for source in (settings.operator, *settings.api_from)]
        ),
        # Pods in addresses of their own, and network policies that are kept.
        network_profile=containerservice.ContainerServiceNetworkProfileArgs(
            network_plugin="azure", network_plugin_mode="overlay", network_dataplane="cilium", network_policy="cilium"
        ),
        agent_pool_profiles=[
            containerservice.ManagedClusterAgentPoolProfileArgs(
                name="nodes",
                mode="System",
                count=aks.nodes,
                vm_size=settings.size,
                os_sku="Ubuntu",
                os_disk_size_gb=settings.os_disk_gb,
            )
        ],
        **place.common,
    )
