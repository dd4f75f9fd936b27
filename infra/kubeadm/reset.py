"""Step "reset": on deletion, remove the cluster from a machine. It is created first, so that it is deleted last."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pulumi
from pulumi_command import local

from infra.errors import UserError
from infra.kubeadm.owner import OtherOwnerError, check_owner
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
    run_if_reachable(request, "reset", "reset.sh", {})


def run_if_reachable(request: MachineRequest, action: str, script: str, environment: Mapping[str, str]) -> None:
    """Run a script on a machine that leaves. Log a warning if it cannot be reached or has another owner.

    Raises:
        UserError: the script failed.
    """
    name = request.node.name
    with ExitStack() as stack:
        try:
            shell = stack.enter_context(connected(request.node))
            check_owner(shell, name, request.owner)
        except OtherOwnerError as error:
            print(error)
            return
        except UserError as error:
            print(f"{name} was not {action}: {error}", file=sys.stderr)
            return
        print(run_script(shell, f"{name}: {action}", request, script, environment))
