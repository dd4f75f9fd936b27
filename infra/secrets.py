"""Keys and passwords that a stack generates once and keeps in its state."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider

DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
TO_BCRYPT = bytes.maketrans(DIGITS + b"+/", b"./" + DIGITS)
"""Translation from standard Base64 to the alphabet of bcrypt."""


def key_pair() -> tuple[str, str]:
    """Return a new Ed25519 key pair: the private key in OpenSSH's format, the public key as in authorized_keys."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


class GeneratedProvider(DynamicProvider):
    """A provider whose outputs are generated once and never change."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Report no change."""
        return DiffResult(changes=False)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Keep the outputs."""
        return UpdateResult(_olds)


class _SshKeyProvider(GeneratedProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        private, public = key_pair()
        return CreateResult("ssh-key", {"private_key": private, "public_key": public})


class SshKey(Resource, module="infra", name="SshKey"):
    """An Ed25519 key pair: `private_key` in OpenSSH's format (secret), `public_key` as in authorized_keys."""

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
        props = {"private_key": None, "public_key": None}
        super().__init__(_SshKeyProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


class _PasswordProvider(GeneratedProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        import secrets

        return CreateResult("password", {"value": secrets.token_urlsafe(32)})


class RandomPassword(Resource, module="infra", name="Password"):
    """A random password. `value` is secret: 256 bits in 43 characters that need no quoting."""

    value: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(_PasswordProvider(), name, {"value": None}, pulumi.ResourceOptions.merge(secret, opts))


def bcrypt_hash(password: str) -> str:
    """Return the bcrypt hash of a random password.

    A random salt would change the hash at each `up`, so the salt is derived from the password.
    """
    import base64
    import hashlib

    import bcrypt

    salt = base64.b64encode(hashlib.sha256(password.encode()).digest()[:16]).rstrip(b"=").translate(TO_BCRYPT)
    return bcrypt.hashpw(password.encode(), b"$2b$10$" + salt).decode()
