"""Keys and passwords that a stack makes for itself, once."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider


def key_pair() -> tuple[str, str]:
    """A new pair of Ed25519 keys: the private one in OpenSSH's format, the public one as in authorized_keys."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return private.decode(), public.decode()


class _SshKeyProvider(DynamicProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        private, public = key_pair()
        return CreateResult("ssh-key", {"private_key": private, "public_key": public})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_olds)


class SshKey(Resource, module="infra", name="SshKey"):
    """A pair of Ed25519 keys: `private_key` in OpenSSH's format (secret), `public_key` as in authorized_keys."""

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["private_key"])
        props = {"private_key": None, "public_key": None}
        super().__init__(_SshKeyProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))


class _PasswordProvider(DynamicProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        import secrets

        return CreateResult("password", {"value": secrets.token_urlsafe(32)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_olds)


class RandomPassword(Resource, module="infra", name="Password"):
    """A random password: 256 bits in 43 characters that need no quoting, a secret output."""

    value: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(_PasswordProvider(), name, {"value": None}, pulumi.ResourceOptions.merge(secret, opts))
