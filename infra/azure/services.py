"""What a stack may have in Azure besides machines: a container registry, and storage for data sets."""

from __future__ import annotations

import pulumi
from pulumi_azure_native import authorization, containerregistry, storage

from infra.azure.context import AzureContext
from infra.azure.registry_token import RegistryToken
from infra.blob_account import BlobAccount
from infra.registry import ContainerRegistry, RegistryLogin

PULL = ["repositories/*/content/read", "repositories/*/metadata/read"]
PUSH = ["repositories/*/content/write", "repositories/*/metadata/write"]


def azure_registry(place: AzureContext) -> ContainerRegistry:
    """A container registry that nobody reads without a password, and has no administrator.

    What nodes and pods show may do nothing but pull; who builds images has a password of their own.
    """
    registry = containerregistry.Registry(
        "registry",
        sku=containerregistry.SkuArgs(name="Basic"),
        admin_user_enabled=False,
        **place.common,
    )
    nodes = _login("nodes", PULL, registry, place)
    return ContainerRegistry(
        host=registry.login_server,
        username=nodes.username,
        password=nodes.password,
        ca=pulumi.Output.from_input(""),
        builder=_login("builder", PULL + PUSH, registry, place),
    )


def _login(name: str, actions: list[str], registry: containerregistry.Registry, place: AzureContext) -> RegistryLogin:
    """A token of that name, which may do these things alone, and its password."""
    scope = containerregistry.ScopeMap(
        name,
        resource_group_name=place.group.name,
        registry_name=registry.name,
        actions=actions,
        opts=place.opts,
    )
    token = containerregistry.Token(
        name,
        resource_group_name=place.group.name,
        registry_name=registry.name,
        scope_map_id=scope.id,
        status="Enabled",
        opts=place.opts,
    )
    # Asked for once there is a token to make a password of: a first preview takes nobody who is logged in.
    client = authorization.get_client_token_output(opts=pulumi.InvokeOutputOptions(depends_on=[token]))
    password = RegistryToken(
        f"{name}-password",
        registry=registry.id,
        token=token.id,
        bearer=pulumi.Output.secret(client.token),
        opts=place.opts,
    )
    return RegistryLogin(token.name, password.value)


def azure_storage(container: str, place: AzureContext) -> BlobAccount:
    """A storage account for one container, which its keys alone open."""
    account = storage.StorageAccount(
        "datasets",
        kind=storage.Kind.STORAGE_V2,
        sku=storage.SkuArgs(name=storage.SkuName.STANDARD_LRS),
        allow_blob_public_access=False,
        enable_https_traffic_only=True,
        minimum_tls_version=storage.MinimumTlsVersion.TLS1_2,
        **place.common,
    )
    made = storage.BlobContainer(
        container,
        resource_group_name=place.group.name,
        account_name=account.name,
        container_name=container,
        public_access=storage.PublicAccess.NONE,
        opts=place.opts,
    )
    keys = storage.list_storage_account_keys_output(resource_group_name=place.group.name, account_name=account.name)
    # An upload has to wait for the container, which the address alone does not tell.
    blobs = account.primary_endpoints.apply(lambda endpoints: endpoints.blob)
    url = pulumi.Output.all(blobs, made.id).apply(lambda given: str(given[0]).rstrip("/"))
    return BlobAccount(
        account_url=url,
        account_key=pulumi.Output.secret(keys.apply(lambda answer: answer.keys[0].value)),
        container=container,
    )
