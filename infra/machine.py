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
        return _login(self.address, self)

    @property
    def connection(self) -> remote.ProxyConnectionArgs:
        """How pulumi-command reaches it."""
        return remote.ProxyConnectionArgs(**_dialled(self.properties))


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
            **_login(self.public_address, self),
            "bastion": self.bastion.properties if self.bastion else None,
        }

    @property
    def connection(self) -> remote.ConnectionArgs:
        """How pulumi-command reaches it."""
        proxy = self.bastion.connection if self.bastion else None
        return remote.ConnectionArgs(**_dialled(_login(self.public_address, self)), proxy=proxy)


def _login(host: pulumi.Input[str], at: Bastion | Machine) -> dict[str, pulumi.Input[Any]]:
    return {"host": host, "port": at.port, "user": at.user, "key": at.key, "host_key": at.host_key}


def _dialled(login: dict[str, pulumi.Input[Any]]) -> dict[str, Any]:
    """A login as pulumi-command names its parts, with how long it is tried."""
    renamed = {("private_key" if name == "key" else name): value for name, value in login.items()}
    return renamed | {"dial_error_limit": DIAL_ATTEMPTS, "per_dial_timeout": DIAL_SECONDS}
