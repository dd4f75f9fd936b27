"""Step "address": let keepalived move the API server's address among the control planes.

Machines without an API server never hold the address, so the step comes before `kubeadm init` and `kubeadm join`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_command import local

from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.reset import run_if_reachable
from infra.kubeadm.step import AddressRequest, local_step, node_inputs, run_script
from infra.machine import Machine
from infra.ssh import connected

SCRIPT = "control-plane/keepalived.sh"


def hold_address(
    machine: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource], cluster_resource: pulumi.Resource
) -> local.Command:
    """Configure keepalived on a control plane. Without the setting, or when the machine leaves, remove it there."""
    return local_step(
        f"{machine.name}-address",
        {**node_inputs(plan, machine), "virtual_address": plan.virtual_address},
        create="hold-address",
        delete="give-address-up",
        opts=plan.options(depends_on, deleted_with=machine.resource or cluster_resource),
    )


def hold(request: AddressRequest) -> None:
    """Configure keepalived on the machine.

    Raises:
        UserError: the machine cannot be reached, or keepalived did not start.
    """
    peers = [other.address for other in request.control_planes if other.name != request.node.name]
    environment = {
        "VIRTUAL_ADDRESS": request.virtual_address,
        "ADDRESS": request.node.address,
        "PEERS": " ".join(peers),
    }
    with connected(request.node) as shell:
        print(run_script(shell, f"{request.node.name}: configuring keepalived", request, SCRIPT, environment))


def give_up(request: AddressRequest) -> None:
    """Remove the configuration of keepalived from the machine, which releases the address."""
    run_if_reachable(request, "released from the API server's address", SCRIPT, {"VIRTUAL_ADDRESS": ""})
