"""Step "ready": upgrade a node if needed, and wait until it is Ready. Nodes take turns."""

from __future__ import annotations

import pulumi
from pulumi_command import local

from infra.kubeadm.kubectl import kubectl_on
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import VersionRequest, local_step, version_inputs
from infra.kubeadm.upgrade import upgrade_node
from infra.machine import Machine


def ready_node(machine: Machine, plan: ClusterPlan, opts: pulumi.ResourceOptions) -> local.Command:
    """Wait for a node, and upgrade it first if it has another version."""
    return local_step(f"{machine.name}-ready", version_inputs(plan, machine), create="ready", opts=opts)


def ready(request: VersionRequest) -> None:
    """Upgrade the node if its kubelet has another version, and wait until the node is Ready.

    Raises:
        UserError: the upgrade failed, or the node is not Ready within five minutes.
    """
    name, wanted = request.node.name, f"v{request.version}"
    with kubectl_on(request) as kubectl:
        # `kubeadm join` does not wait until the kubelet has created its node.
        outdated = kubectl.node_exists(name) and kubectl.kubelet_version(name) != wanted
        if outdated:
            upgrade_node(request, kubectl)
        kubectl.wait_for_node(name, wanted)
        if outdated:
            kubectl.wait_for_deployments()
        if request.node.role == "worker":
            kubectl.spread_coredns()
    print(f"{name} is Ready with {wanted}")
