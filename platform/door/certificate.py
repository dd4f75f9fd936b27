"""The certificate of the door: of the settings, or made by a certificate authority of the stack."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, any_changed
from settings.services.door_settings import DoorSettings

NAME = "mlplatform door"
OUTPUTS = ("certificate", "key", "authority", "authority_key", "expires")


class _DoorCertificateProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Update a certificate for other names, or one that expires within 30 days."""
        return DiffResult(changes=any_changed(_olds, _news, ("names",)) or _is_due(_olds["expires"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        from airgap.bundle.registry.certificates import issue_authority

        return CreateResult("door-certificate", props | _issue(issue_authority(f"{NAME} CA"), props["names"]))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Issue a certificate of the same authority, which browsers trust already."""
        from airgap.bundle.registry.certificates import KeyPair

        authority = KeyPair(_olds["authority"].encode(), _olds["authority_key"].encode())
        return UpdateResult(_news | _issue(authority, _news["names"]))


class DoorCertificate(Resource, module="platform", name="DoorCertificate"):
    """A certificate for `names`, which each `up` in its last 30 days renews.

    `certificate` and its `key`, `authority` and its `authority_key` are in PEM format, and the keys are secret.
    `expires` is in seconds since 1970.
    """

    certificate: pulumi.Output[str]
    key: pulumi.Output[str]
    authority: pulumi.Output[str]
    expires: pulumi.Output[float]

    def __init__(self, name: str, names: list[str], opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["key", "authority_key"])
        props = {"names": names, **dict.fromkeys(OUTPUTS)}
        super().__init__(_DoorCertificateProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


@dataclass(frozen=True)
class DoorCertificateFiles:
    """Certificate and key of the door in PEM format.

    `authority` is the certificate of the stack's own authority; None if the settings have a certificate.
    """

    certificate: pulumi.Input[str]
    key: pulumi.Output[str]
    authority: pulumi.Output[str] | None = None

    def secret(self) -> dict[str, pulumi.Input[str]]:
        """Return the content of the Secret with which nginx serves HTTPS and the metrics of the certificate."""
        metrics = pulumi.Output.from_input(self.certificate).apply(certificate_metrics)
        return {"tls.crt": self.certificate, "tls.key": self.key, "metrics": metrics}


def door_certificate(settings: DoorSettings) -> DoorCertificateFiles:
    """Return the certificate of the settings, or make one for the host of the door."""
    if given := settings.certificate:
        certificate, key = (Path(file).expanduser().read_text() for file in (given.certificate_file, given.key_file))
        return DoorCertificateFiles(certificate, pulumi.Output.secret(key))
    made = DoorCertificate("door-certificate", [settings.host])
    return DoorCertificateFiles(made.certificate, made.key, made.authority)


def certificate_metrics(certificate: str) -> str:
    """Return the metrics of a certificate in PEM format, as Prometheus reads them."""
    begins, expires = _validity(certificate)
    return (
        f"door_certificate_expiration_timestamp_seconds {expires:.0f}\n"
        f"door_certificate_lifetime_seconds {expires - begins:.0f}\n"
    )


def life_left(certificate: str) -> float:
    """Return the part of its life that a certificate in PEM format has left, at most 0 for an expired one."""
    begins, expires = _validity(certificate)
    return (expires - time.time()) / (expires - begins)


def _validity(certificate: str) -> tuple[float, float]:
    """Return the times between which a certificate in PEM format is valid, in seconds since 1970."""
    from cryptography import x509

    parsed = x509.load_pem_x509_certificate(certificate.encode())
    return parsed.not_valid_before_utc.timestamp(), parsed.not_valid_after_utc.timestamp()


def _is_due(expires: float) -> bool:
    from airgap.bundle.registry.certificates import RENEWED_BEFORE

    return time.time() >= expires - RENEWED_BEFORE.total_seconds()


def _issue(authority: Any, names: list[str]) -> dict[str, Any]:
    """Return the outputs of a new certificate, issued by the key pair `authority`."""
    from airgap.bundle.registry.certificates import issue_server

    server = issue_server(authority, NAME, names)
    certificate = server.certificate.decode()
    return {
        "certificate": certificate,
        "key": server.key.decode(),
        "authority": authority.certificate.decode(),
        "authority_key": authority.key.decode(),
        "expires": _validity(certificate)[1],
    }
