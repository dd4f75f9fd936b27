"""What a stack may have in Azure besides machines: a container registry, and storage for data sets."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
from pulumi_azure_native import authorization, containerregistry, storage

from infra.azure_password import TokenPassword
from infra.azure_place import Place
from infra.registry import Registry

PULL_ONLY = ["repositories/*/content/read", "repositories/*/metadata/read"]


@dataclass(frozen=True)
class Storage:
    """A storage account with one private container."""

    account_url: pulumi.Output[str]
    account_key: pulumi.Output[str]
    """Secret."""
    container: str


def azure_registry(place: Place) -> Registry:
    """A container registry that nobody reads without a password, and a token for the nodes that may only pull."""
    registry = containerregistry.Registry(
        "registry",
        sku=containerregistry.SkuArgs(name="Basic"),
        admin_user_enabled=False,
        **place.common,
    )
    scope = containerregistry.ScopeMap(
        "pull",
        resource_group_name=place.group.name,
        registry_name=registry.name,
        description="Read every repository, write none",
        actions=PULL_ONLY,
        opts=place.opts,
    )
    token = containerregistry.Token(
        "nodes",
        resource_group_name=place.group.name,
        registry_name=registry.name,
        scope_map_id=scope.id,
        status="Enabled",
        opts=place.opts,
    )
    password = TokenPassword(
        "nodes-password",
        registry=registry.id,
        token=token.id,
        # Asked for once there is a token to make a password of: a first preview takes nobody who is logged in.
        bearer=pulumi.Output.secret(
            authorization.get_client_token_output(opts=pulumi.InvokeOutputOptions(depends_on=[token])).token
        ),
        opts=place.opts,
    )
    return Registry(
        host=registry.login_server,
        username=token.name,
        password=password.value,
        ca=pulumi.Output.from_input(""),
        depends_on=[password],
    )


def azure_storage(container: str, place: Place) -> Storage:
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
    return Storage(
        account_url=url,
        account_key=pulumi.Output.secret(keys.apply(lambda answer: answer.keys[0].value)),
        container=container,
    )
