"""The certificate of the door that an ACME directory issues, such as Let's Encrypt or step-ca."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, any_changed
from infra.errors import UserError
from infra.secrets import GeneratedProvider
from settings.services.door_settings import AcmeSettings


class _AcmeAccountProvider(GeneratedProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        from mlplatform.door.acme_order import new_account_key

        key, thumbprint = new_account_key()
        return CreateResult("acme-account", {"key": key, "thumbprint": thumbprint})


class AcmeAccount(Resource, module="platform", name="AcmeAccount"):
    """The key of an account at an ACME directory: `key` in PEM format (secret), and its `thumbprint`."""

    key: pulumi.Output[str]
    thumbprint: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key"])
        props = {"key": None, "thumbprint": None}
        super().__init__(_AcmeAccountProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


class _AcmeCertificateProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Order a certificate for another host or of another directory, or in the last third of its life."""
        from mlplatform.door.certificate import life_left

        changed = any_changed(_olds, _news, ("directory", "host"))
        return DiffResult(changes=changed or life_left(_olds["certificate"]) < 1 / 3)

    def create(self, props: dict[str, Any]) -> CreateResult:
        from mlplatform.door.acme_order import order_certificate

        return CreateResult("acme-certificate", props | order_certificate(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Order a certificate; keep the old inputs and outputs without one, so that the next `up` orders again."""
        from mlplatform.door.acme_order import order_certificate
        from mlplatform.door.certificate import life_left

        try:
            return UpdateResult(_news | order_certificate(_news))
        except UserError as error:
            left = life_left(_olds["certificate"])
            if any_changed(_olds, _news, ("host",)) or left <= 0:
                raise
            pulumi.log.warn(
                f"{error}. The door keeps its certificate, with {left:.0%} of its life left; the next `up` orders again"
            )
            return UpdateResult(_olds)


class AcmeCertificate(Resource, module="platform", name="AcmeCertificate"):
    """A certificate for `host`, which each `up` in the last third of its life renews.

    `url` is the address at which the directory finds the door over plain HTTP. `certificate` with its chain and `key`
    are in PEM format, and the keys are secret.
    """

    certificate: pulumi.Output[str]
    key: pulumi.Output[str]

    def __init__(
        self,
        name: str,
        settings: AcmeSettings,
        host: str,
        account: AcmeAccount,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key", "account_key"])
        props = {
            "directory": settings.directory,
            "email": settings.email,
            "ca_file": settings.ca_file and str(Path(settings.ca_file).expanduser().absolute()),
            "host": host,
            "url": f"http://{host}",
            "account_key": account.key,
            "thumbprint": account.thumbprint,
            "certificate": None,
            "key": None,
        }
        super().__init__(_AcmeCertificateProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))
