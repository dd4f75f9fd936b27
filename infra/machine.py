"""A machine that a cluster can be made on, wherever it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
from pulumi_command import remote

Role = Literal["control-plane", "worker"]

DIAL_ATTEMPTS = 30
"""A machine that was just created answers late; each attempt waits a little longer than the one before."""
DIAL_SECONDS = 15


@dataclass(frozen=True)
class Bastion:
    """A machine that SSH connections to the others go through."""

    address: pulumi.Input[str]
    user: str
    key: pulumi.Output[str]
    """The private key, secret."""
    host_key: pulumi.Input[str]
    port: int = 22

    @property
    def properties(self) -> dict[str, pulumi.Input[Any]]:
        """It as an input of a resource."""
        return {
            "host": self.address,
            "port": self.port,
            "user": self.user,
            "key": self.key,
            "host_key": self.host_key,
        }

    @property
    def connection(self) -> remote.ProxyConnectionArgs:
        """How pulumi-command reaches it."""
        return remote.ProxyConnectionArgs(
            host=self.address,
            port=self.port,
            user=self.user,
            private_key=self.key,
            host_key=self.host_key,
            dial_error_limit=DIAL_ATTEMPTS,
            per_dial_timeout=DIAL_SECONDS,
        )


@dataclass(frozen=True)
class Machine:
    """A Linux machine with an SSH server, and a user on it who may use sudo without a password.

    The name is its host name and its node's name. `public_address` is where SSH reaches it from here,
    `private_address` is what the other machines know it by; both are the same on a flat network.
    """

    name: str
    role: Role
    public_address: pulumi.Input[str]
    private_address: pulumi.Input[str]
    user: str
    key: pulumi.Output[str]
    """The private key of `user` in OpenSSH's or PEM format, secret."""
    host_key: pulumi.Input[str]
    """The machine's own public key as in known_hosts, without the address: `ssh-ed25519 AAAA...`."""
    port: int = 22
    bastion: Bastion | None = None
    resource: pulumi.Resource | None = None
    """What stands for the machine in this stack, if it was made here; what is on it goes with it."""
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple)
    """What must be there before it can be reached, such as the network's rules."""

    @property
    def properties(self) -> dict[str, pulumi.Input[Any]]:
        """It as an input of a resource, for `infra.ssh`."""
        return {
            "name": self.name,
            "role": self.role,
            "address": self.private_address,
            "host": self.public_address,
            "port": self.port,
            "user": self.user,
            "key": self.key,
            "host_key": self.host_key,
            "bastion": self.bastion.properties if self.bastion else None,
        }

    @property
    def connection(self) -> remote.ConnectionArgs:
        """How pulumi-command reaches it."""
        return remote.ConnectionArgs(
            host=self.public_address,
            port=self.port,
            user=self.user,
            private_key=self.key,
            host_key=self.host_key,
            dial_error_limit=DIAL_ATTEMPTS,
            per_dial_timeout=DIAL_SECONDS,
            proxy=self.bastion.connection if self.bastion else None,
        )
