"""Settings of the door: HTTPS, sign-on and rights in front of all services of a cluster."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from settings.types import ExistingFile, Section

Role = Literal["administrator", "editor", "reader"]
Visibility = Literal["private", "team", "public"]
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._@+-]{0,63}$")]
PROGRAMS = frozenset({"admin", "writer", "reader"})
"""MLflow's users for programs of the platform, whose names no person may have."""
BCRYPT = r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}"


def is_reserved(user: str) -> bool:
    """Return True for a name that programs have in MLflow."""
    return user in PROGRAMS or user.startswith(("token.", "writer.", "reader."))


class DoorUserSettings(Section):
    """A person who signs in with a password."""

    role: Role = "reader"
    """Rights of the person: an `administrator` does everything, an `editor` changes runs and models, a `reader`
    reads."""
    password_hash: SecretStr
    """bcrypt hash of the password. `make user` makes a password and its hash."""

    @field_validator("password_hash")
    @classmethod
    def _check_hash(cls, value: SecretStr) -> SecretStr:
        if not re.fullmatch(BCRYPT, value.get_secret_value()):
            raise ValueError("is no bcrypt hash, such as $2b$12$...; `make user` prints one")
        return value


class DoorCertificateSettings(Section):
    """A certificate for the host of the door, in PEM format."""

    certificate_file: ExistingFile
    """File with the certificate, followed by those of intermediate authorities."""
    key_file: ExistingFile
    """File with the private key."""


class AcmeSettings(Section):
    """An ACME directory that issues the certificate of the door, such as Let's Encrypt or a step-ca of the site."""

    directory: str = Field(pattern=r"^https://[^/]")
    """Address of the directory. Setting it accepts the directory's terms of service."""
    email: str | None = Field(default=None, pattern=r"^[^@\s,?]+@[^@\s,?]+$")
    """Address for messages of the directory about the certificate."""
    ca_file: ExistingFile | None = None
    """File with the certificate authority of the directory, in PEM format. Unset: a public authority."""


class OidcSettings(Section):
    """An OpenID Connect provider. Register `https://<host>/oauth2/callback` there as the address to return to."""

    issuer: str = Field(pattern=r"^https://[^/]")
    """Address of the provider: the `issuer` of its document `.well-known/openid-configuration`."""
    client: str
    """Client ID of the door at the provider."""
    client_secret: SecretStr
    """Secret of that client."""
    groups_claim: str = "groups"
    """Claim of the ID token with the groups of a person."""
    groups: dict[str, Role] = Field(min_length=1)
    """Roles by group: a person gets the highest role of their groups. A person without such a group is refused."""
    scope: str = "openid email profile"
    """Scopes to request."""
    ca_file: ExistingFile | None = None
    """File with the certificate authority of the provider, in PEM format. Unset: a public authority."""

    @property
    def port(self) -> int:
        """Return the port of the provider."""
        return urlsplit(self.issuer).port or 443

    @field_validator("groups")
    @classmethod
    def _check_groups(cls, groups: dict[str, Role]) -> dict[str, Role]:
        if wrong := [group for group in groups if not group or "," in group]:
            raise ValueError(f"the name of a group is not empty and has no comma: {wrong[0]!r}")
        return groups


def _is_loopback(host: str) -> bool:
    return host == "localhost" or re.fullmatch(r"127(\.\d+){3}", host) is not None


class DoorSettings(Section):
    """Address with HTTPS and sign-on for the pages and models of a cluster, see [Door](door.md)."""

    host: str = Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
    """Host name or IPv4 address of the door, which its certificate has."""
    address: ipaddress.IPv4Address | None = None
    """Address that the load balancer gives to the door, one of `platform:load_balancer.addresses` if there are any.
    Unset: `host` if that is an address, else any."""
    certificate: DoorCertificateSettings | None = None
    """Certificate of `host`. Unset: the stack makes one with its authority; `make trust` prints the authority."""
    acme: AcmeSettings | None = None
    """ACME directory that issues the certificate in place of `certificate`, and finds the door at port 80 of `host`."""
    users: dict[UserName, DoorUserSettings] = Field(default_factory=dict)
    """Persons by name, without `oidc`. Unset: one administrator `operator`, whose password is in the output
    `door_login`."""
    oidc: OidcSettings | None = None
    """OpenID Connect provider for sign-on. Unset: `users`."""
    session_hours: int = Field(default=8, ge=1, le=168)
    """Hours after which a person signs in again."""
    requests_per_second: int = Field(default=200, ge=1, le=100_000)
    """Requests to models that one token may send in a second to each of the two pods of the door. An address without a
    token has the same limit. The door answers 429 to more."""
    audit_days: int = Field(default=365, ge=1, le=3650)
    """Days to keep the entries of the [audit log](door.md#audit-log)."""

    @property
    def service_address(self) -> str | None:
        """Return the address that the load balancer has to give, None for any."""
        if self.address:
            return str(self.address)
        return self.host if re.fullmatch(r"[\d.]+", self.host) else None

    @field_validator("host")
    @classmethod
    def _check_host(cls, host: str) -> str:
        if re.fullmatch(r"[\d.]+", host):
            ipaddress.IPv4Address(host)
        return host

    @model_validator(mode="after")
    def _check_acme(self) -> DoorSettings:
        if self.acme is None:
            return self
        if self.certificate:
            raise ValueError("certificate and acme are two ways to a certificate; set one of them")
        directory = urlsplit(self.acme.directory).hostname or ""
        if _is_loopback(self.host) and not _is_loopback(directory):
            raise ValueError(f"acme: the directory {directory} cannot reach a door at {self.host}, a loopback address")
        return self

    @model_validator(mode="after")
    def _check_users(self) -> DoorSettings:
        if self.users and self.oidc:
            raise ValueError("users and oidc are two ways to sign in; set one of them")
        for name in self.users:
            if is_reserved(name):
                raise ValueError(f"users.{name}: the platform's programs use this name in MLflow; choose another name")
        if self.users and not any(user.role == "administrator" for user in self.users.values()):
            raise ValueError("users: there is no administrator; set role: administrator for at least one person")
        return self
