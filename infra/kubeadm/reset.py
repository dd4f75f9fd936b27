"""Step "reset": on deletion, remove the cluster from a machine. It is created first, so that it is deleted last."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack

import pulumi
from pulumi_command import local

from infra.errors import UserError
from infra.kubeadm.owner import left_alone, read_owner
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import MachineRequest, local_step, run_script
from infra.machine import Machine
from infra.ssh import connected


def reset_machine(machine: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> local.Command:
    """Reset the machine when it leaves the stack."""
    return local_step(
        f"{machine.name}-reset",
        {"node": machine.properties, "owner": plan.owner},
        delete="reset",
        opts=plan.options(depends_on, deleted_with=machine.resource),
    )


def reset(request: MachineRequest) -> None:
    """Run `kubeadm reset` and remove its leftovers.

    Log a warning if the machine cannot be reached. A machine without this cluster's owner file is left alone.

    Raises:
        UserError: the reset failed; with the last lines of kubeadm.
    """
    name = request.node.name
    with ExitStack() as stack:
        try:
            shell = stack.enter_context(connected(request.node))
        except UserError as error:
            print(f"{name} was not reset: {error}", file=sys.stderr)
            return
        found = read_owner(shell)
        if found != request.owner:
            print(left_alone(name, found, request.owner))
            return
        print(run_script(shell, f"{name}: reset", request, "reset.sh", {}))
