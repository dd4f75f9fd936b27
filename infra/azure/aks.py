"""A cluster of Azure Kubernetes Service. Azure operates its control plane, network and storage."""

from __future__ import annotations

import base64

import pulumi
from pulumi_azure_native import containerservice

from infra.azure.context import AzureContext, azure_context
from infra.azure.services import azure_registry, azure_storage
from infra.blob_account import BlobAccount
from infra.registry import ContainerRegistry
from settings.machines.azure_settings import AksSettings, AzureSettings


class AksSite(pulumi.ComponentResource):
    """A managed cluster, with a registry and a storage account if the settings have them.

    Attributes:
        kubeconfig: of the cluster, secret.
        cluster: the resource of the cluster.

    Raises:
        SettingsError: the operator's address is one for documentation, and this is not a preview.
    """

    kubeconfig: pulumi.Output[str]
    cluster: containerservice.ManagedCluster
    registry: ContainerRegistry | None
    storage: BlobAccount | None

    def __init__(
        self,
        name: str,
        *,
        settings: AzureSettings,
        aks: AksSettings,
        stack: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__("mlplatform:infra:AksSite", name, None, opts)
        context = azure_context(settings, stack, self)
        self.cluster = _cluster(context, aks, stack)
        credentials = containerservice.list_managed_cluster_user_credentials_output(
            resource_group_name=context.group.name, resource_name=self.cluster.name
        )
        self.kubeconfig = pulumi.Output.secret(
            credentials.apply(lambda response: base64.b64decode(response.kubeconfigs[0].value).decode())
        )
        self.registry = azure_registry(context) if settings.registry else None
        self.storage = azure_storage(settings.storage, context) if settings.storage else None
        self.register_outputs({})


def _cluster(context: AzureContext, aks: AksSettings, stack: str) -> containerservice.ManagedCluster:
    settings = context.settings
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
        # Pods have their own address range, and network policies are enforced.
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
        **context.common,
    )
