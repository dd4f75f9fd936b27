"""Machines that a cluster can be installed on, from any source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
from pulumi_command import remote
from pydantic import TypeAdapter

Role = Literal["control-plane", "worker"]

DIAL_ATTEMPTS = 30
"""A new machine may start its SSH server late. Each attempt of pulumi-command waits a little longer than the last."""
DIAL_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class SshLogin:
    """Address and credentials of an SSH server, with all values known. `infra.ssh.connected` uses it."""

    name: str = "the bastion"
    """For error messages."""
    host: str
    port: int
    user: str
    key: str
    """The private key, secret."""
    host_key: str
    bastion: SshLogin | None = None


@dataclass(frozen=True, kw_only=True)
class ResolvedMachine(SshLogin):
    """A `Machine` with all values known, inside a step or a dynamic provider."""

    role: Role
    address: str
    """The private address."""

    @staticmethod
    def parse(properties: Mapping[str, Any]) -> ResolvedMachine:
        """Return the machine of `Machine.properties`. Pulumi hands numbers over as floats; they become integers."""
        return _RESOLVED_MACHINE.validate_python(properties)


_RESOLVED_MACHINE = TypeAdapter(ResolvedMachine)


@dataclass(frozen=True)
class Bastion:
    """A machine that forwards SSH connections to the other machines."""

    address: pulumi.Input[str]
    user: str
    key: pulumi.Output[str]
    """The private key, secret."""
    host_key: pulumi.Input[str]
    port: int = 22

    @property
    def properties(self) -> dict[str, pulumi.Input[Any]]:
        """The bastion as resource inputs, in the format of `SshLogin`."""
        return _login_inputs(self.address, self)

    @property
    def connection(self) -> remote.ProxyConnectionArgs:
        """The connection settings of pulumi-command."""
        return remote.ProxyConnectionArgs(**_command_inputs(self.properties))


@dataclass(frozen=True)
class Machine:
    """A Linux machine with an SSH server, and a user on it who may use sudo without a password.

    `name` is both the host name and the node name. This computer connects to `public_address`, the other machines
    to `private_address`. On a flat network both are the same.
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
    """The resource that created the machine, if this stack did. Its deletion undoes all steps on the machine."""
    depends_on: Sequence[pulumi.Resource] = field(default_factory=tuple)
    """Resources that must exist before the machine can be reached, such as firewall rules."""

    @property
    def properties(self) -> dict[str, pulumi.Input[Any]]:
        """The machine as resource inputs, in the format of `ResolvedMachine`."""
        return {
            "name": self.name,
            "role": self.role,
            "address": self.private_address,
            **_login_inputs(self.public_address, self),
            "bastion": self.bastion.properties if self.bastion else None,
        }

    @property
    def connection(self) -> remote.ConnectionArgs:
        """The connection settings of pulumi-command."""
        proxy = self.bastion.connection if self.bastion else None
        return remote.ConnectionArgs(**_command_inputs(_login_inputs(self.public_address, self)), proxy=proxy)


def _login_inputs(host: pulumi.Input[str], server: Bastion | Machine) -> dict[str, pulumi.Input[Any]]:
    return {"host": host, "port": server.port, "user": server.user, "key": server.key, "host_key": server.host_key}


def _command_inputs(login: dict[str, pulumi.Input[Any]]) -> dict[str, Any]:
    """Return a login under the argument names of pulumi-command, with its dial limits."""
    renamed = {("private_key" if name == "key" else name): value for name, value in login.items()}
    return renamed | {"dial_error_limit": DIAL_ATTEMPTS, "per_dial_timeout": DIAL_SECONDS}
