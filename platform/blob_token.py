"""Token with which the steps of pipelines read the container of a storage account: a shared access signature."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, any_changed

LIFETIME = timedelta(days=365)
RENEWAL = LIFETIME / 2
"""Remaining time from which an `up` renews a token: schedules in a cluster use it until the next `up`."""
CLOCK_SKEW = timedelta(minutes=15)


class _ContainerTokenProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        changed = any_changed(_olds, _news, ("account_url", "account_key", "container"))
        return DiffResult(changes=changed or datetime.fromisoformat(_olds["expires"]) - datetime.now(UTC) < RENEWAL)

    def create(self, props: dict[str, Any]) -> CreateResult:
        expires = datetime.now(UTC) + LIFETIME
        return CreateResult(
            props["container"], props | {"token": _sign(props, expires), "expires": expires.isoformat()}
        )

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)


class ContainerToken(Resource, module="platform", name="ContainerToken"):
    """A signature of the account's key that permits to list and read the blobs of one container, for a year.

    `token` is secret. It ends earlier when the account gets another key.
    """

    token: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        *,
        account_url: pulumi.Input[str],
        account_key: pulumi.Input[str],
        container: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["token", "account_key"])
        props = {
            "account_url": account_url,
            "account_key": account_key,
            "container": container,
            **dict.fromkeys(("token", "expires")),
        }
        super().__init__(_ContainerTokenProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


def account_name(account_url: str) -> str:
    """Return the name of an account: the path of an emulator's address, else the first label of the host.

    Azure's client derives the name only from hosts of Azure and from an emulator at 127.0.0.1.
    """
    address = urlsplit(account_url)
    return address.path.strip("/") or (address.hostname or "").partition(".")[0]


def _sign(props: dict[str, Any], expires: datetime) -> str:
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    url = props["account_url"]
    token: str = generate_container_sas(
        account_name(url),
        props["container"],
        account_key=props["account_key"],
        permission=ContainerSasPermissions(read=True, list=True),
        start=datetime.now(UTC) - CLOCK_SKEW,
        expiry=expires,
        protocol="https" if url.startswith("https:") else "https,http",
    )
    return token
