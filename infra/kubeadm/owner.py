"""Step "owner": write into each machine which cluster it belongs to, before any other change.

The owner is `organization/project/stack` and a random identity, as in `acme/mlplatform/onprem 5f0c9a...`. Every script
that changes a machine runs only on a machine with the owner of its cluster, see `scripts`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, Resource
from pulumi_command import remote

from infra.errors import UserError
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import remote_script
from infra.machine import Machine
from infra.secrets import GeneratedProvider
from infra.ssh import Shell

OWNER_FILE = "/etc/mlplatform/owner"


class OtherOwnerError(UserError):
    """A machine of another stack, or of none."""


class _MachineOwnerProvider(GeneratedProvider):
    def create(self, props: dict[str, Any]) -> CreateResult:
        import secrets

        return CreateResult("owner", {"value": f"{props['stack']} {secrets.token_hex(8)}"})


class MachineOwner(Resource, module="infra", name="MachineOwner"):
    """The owner of a cluster's machines. `value` is generated once and survives a rename of the stack.

    Args:
        stack: full name of the stack, as in `organization/project/stack`.
    """

    value: pulumi.Output[str]

    def __init__(self, name: str, *, stack: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_MachineOwnerProvider(), name, {"stack": stack, "value": None}, opts)


def claim_machine(machine: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> remote.Command:
    """Write the owner file. A machine of another cluster fails, even if it joined that after the preflight."""
    return remote_script(f"{machine.name}-owner", machine, plan, "owner.sh", {}, opts=plan.options(depends_on))


def read_owner(shell: Shell) -> str:
    """Return the content of the machine's owner file, "" if it has none."""
    return shell.run(f"cat {shlex.quote(OWNER_FILE)} 2>/dev/null || true").output.strip()


def check_owner(shell: Shell, name: str, owner: str) -> None:
    """Check that the machine belongs to this stack.

    Raises:
        OtherOwnerError: it has another owner, or none.
    """
    if (found := read_owner(shell)) != owner:
        raise OtherOwnerError(left_alone(name, found, owner))


def left_alone(name: str, found: str, owner: str) -> str:
    """Return the log line for a machine that has another owner, or none."""
    return f"{name} is left alone: {OWNER_FILE} has {found or 'no owner'}, and this stack is {owner}"
