"""Step "reconcile": apply the kubeadm configuration of this version of the program to nodes of an older one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pulumi
from pulumi_command import local, remote

from infra.kubeadm.init import configuration_variables
from infra.kubeadm.kubectl import kubectl_on
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.scripts import script_text, standard_input
from infra.kubeadm.step import ReconcileRequest, local_step, node_inputs, remote_script, run_script
from infra.machine import Machine
from infra.ssh import connected

SCRIPT = "reconcile.sh"


def install_approver(plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> remote.Command:
    """Install the timer on the control plane that approves kubelets' requests for serving certificates."""
    nodes = [field for machine in plan.machines for field in (machine.name, machine.private_address)]
    variables: dict[str, pulumi.Input[str]] = {"NODES": pulumi.Output.all(*nodes).apply(" ".join)}
    return remote_script(
        f"{plan.control_plane.name}-approver",
        plan.control_plane,
        plan,
        "approver.sh",
        variables,
        stdin=script_text("approve-certificates.sh"),
        opts=plan.options(depends_on),
    )


def reconcile_node(machine: Machine, plan: ClusterPlan, opts: pulumi.ResourceOptions) -> local.Command:
    """Apply the configuration to one node, and again when the configuration or its variables change."""
    inputs = {
        **node_inputs(plan, machine),
        "environment": {**configuration_variables(plan), "ROLE": machine.role},
        "digest": hashlib.sha256(standard_input(SCRIPT).encode()).hexdigest(),
    }
    return local_step(f"{machine.name}-reconcile", inputs, create="reconcile", opts=opts)


def reconcile(request: ReconcileRequest) -> None:
    """Run the script on the node, and wait until the API server accepts the certificate of its kubelet.

    Raises:
        UserError: kubeadm failed, or a component did not start with the new configuration and has the old one again.
    """
    name = request.node.name
    with connected(request.node) as shell, kubectl_on(request.control_plane, request.owner) as kubectl:
        print(run_script(shell, f"{name}: applying the configuration", request, SCRIPT, request.environment))
        kubectl.wait_for_serving_certificate(name)
