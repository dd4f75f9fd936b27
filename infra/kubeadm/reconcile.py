"""Step "reconcile": apply the kubeadm configuration of this version of the program to nodes of an older one."""

from __future__ import annotations

import hashlib
import sys

import pulumi
from pulumi_command import local

from infra.errors import UserError
from infra.kubeadm.etcd import remove_replaced_members
from infra.kubeadm.init import configuration_variables
from infra.kubeadm.kubectl import kubectl_on
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.scripts import script_text, standard_input
from infra.kubeadm.step import ReconcileRequest, local_step, node_inputs, run_script
from infra.machine import Machine
from infra.ssh import connected

SCRIPT = "reconcile.sh"
APPROVER = "approver.sh"
APPROVAL = "approve-certificates.sh"


def reconcile_node(machine: Machine, plan: ClusterPlan, opts: pulumi.ResourceOptions) -> local.Command:
    """Apply the configuration to one node, and again when the configuration or its variables change."""
    texts = standard_input(SCRIPT) + standard_input(APPROVER, script_text(APPROVAL))
    control_plane = machine if machine.role == "control-plane" else plan.control_plane
    inputs = {
        **node_inputs(plan, machine),
        "environment": {**configuration_variables(plan, control_plane), "ROLE": machine.role},
        "digest": hashlib.sha256(texts.encode()).hexdigest(),
    }
    return local_step(f"{machine.name}-reconcile", inputs, create="reconcile", opts=opts)


def reconcile(request: ReconcileRequest) -> None:
    """Run the script on the node, and wait until the API server accepts the certificate of its kubelet.

    Each control plane expects the requests of each node, because any of them can be the last one.

    Raises:
        UserError: kubeadm failed, or a component did not start with the new configuration and has the old one again.
    """
    node = request.node
    expected = {"NODE": node.name, "ADDRESS": node.address}
    action = f"{node.name}: expecting its certificate requests"
    for machine in request.control_planes:
        try:
            with connected(machine) as shell:
                print(run_script(shell, action, request, APPROVER, expected, script_text(APPROVAL)))
        except UserError as error:
            if not request.other_control_planes:
                raise
            print(f"{machine.name} does not approve certificates of {node.name} yet: {error}", file=sys.stderr)
    with connected(node) as shell, kubectl_on(request) as kubectl:
        if node.role == "control-plane":
            remove_replaced_members(kubectl, request)
        action = f"{node.name}: applying the configuration"
        print(run_script(shell, action, request, SCRIPT, request.environment))
        kubectl.wait_for_serving_certificate(node.name)
