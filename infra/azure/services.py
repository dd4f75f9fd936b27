"""Optional services of a stack in Azure: a container registry, and storage for data sets."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import authorization, containerregistry, storage

from infra.azure.context import AzureContext
from infra.azure.registry_token import RegistryToken
from infra.blob_account import BlobAccount
from infra.registry import ContainerRegistry, RegistryLogin

PULL = ["repositories/*/content/read", "repositories/*/metadata/read"]
PUSH = ["repositories/*/content/write", "repositories/*/metadata/write"]


def azure_registry(context: AzureContext) -> ContainerRegistry:
    """Create a private container registry without an administrator account.

    Nodes and pods have a login that can only pull. Image builds have a second login that can push.
    """
    registry = containerregistry.Registry(
        "registry",
        sku=containerregistry.SkuArgs(name="Basic"),
        admin_user_enabled=False,
        **context.common,
    )
    nodes = _login("nodes", PULL, registry, context)
    return ContainerRegistry(
        host=registry.login_server,
        username=nodes.username,
        password=nodes.password,
        ca=pulumi.Output.from_input(""),
        builder=_login("builder", PULL + PUSH, registry, context),
    )


def _login(name: str, actions: list[str], registry: containerregistry.Registry, context: AzureContext) -> RegistryLogin:
    """Create a token with exactly these rights, and its password."""
    scope = containerregistry.ScopeMap(
        name,
        resource_group_name=context.group.name,
        registry_name=registry.name,
        actions=actions,
        opts=context.opts,
    )
    token = containerregistry.Token(
        name,
        resource_group_name=context.group.name,
        registry_name=registry.name,
        scope_map_id=scope.id,
        status="Enabled",
        opts=context.opts,
    )
    # Wait for the token, so that a first preview works without an Azure login.
    client = authorization.get_client_token_output(opts=pulumi.InvokeOutputOptions(depends_on=[token]))
    password = RegistryToken(
        f"{name}-password",
        registry=registry.id,
        token=token.id,
        bearer=pulumi.Output.secret(client.token),
        opts=context.opts,
    )
    return RegistryLogin(token.name, password.value)


def azure_storage(container: str, context: AzureContext) -> BlobAccount:
    """Create a storage account with one private container. Access requires one of the account's keys."""
    account = storage.StorageAccount(
        "datasets",
        kind=storage.Kind.STORAGE_V2,
        sku=storage.SkuArgs(name=storage.SkuName.STANDARD_LRS),
        allow_blob_public_access=False,
        enable_https_traffic_only=True,
        minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
        **context.common,
    )
    blob_container = storage.BlobContainer(
        container,
        resource_group_name=context.group.name,
        account_name=account.name,
        container_name=container,
        public_access=storage.PublicAccess.NONE,
        opts=context.opts,
    )
    keys = storage.list_storage_account_keys_output(resource_group_name=context.group.name, account_name=account.name)
    # The URL alone does not depend on the container, and uploads must wait for it.
    blobs = account.primary_endpoints.apply(lambda endpoints: endpoints.blob)
    url = pulumi.Output.all(blobs, blob_container.id).apply(lambda values: str(values[0]).rstrip("/"))
    return BlobAccount(
        account_url=url,
        account_key=pulumi.Output.secret(keys.apply(lambda response: response.keys[0].value)),
        container=container,
    )
