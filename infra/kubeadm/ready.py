"""Step "ready": upgrade a node if needed, and wait until it is Ready. Nodes take turns."""

from __future__ import annotations

import pulumi
from pulumi_command import local

from infra.kubeadm.kubectl import kubectl_on
from infra.kubeadm.packages import replace_runtime, runtime_is_outdated
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import VersionRequest, local_step
from infra.kubeadm.upgrade import upgrade_node, version_inputs
from infra.machine import Machine


def ready_node(machine: Machine, plan: ClusterPlan, opts: pulumi.ResourceOptions) -> local.Command:
    """Wait for a node, and upgrade it first if it has other versions."""
    return local_step(f"{machine.name}-ready", version_inputs(plan, machine), create="ready", opts=opts)


def ready(request: VersionRequest) -> None:
    """Upgrade the node if its kubelet or container runtime has another version, and wait until the node is Ready.

    Raises:
        UserError: the upgrade failed, or the node is not Ready within five minutes.
    """
    name, wanted = request.node.name, f"v{request.version}"
    with kubectl_on(request) as kubectl:
        # `kubeadm join` does not wait until the kubelet has created its node.
        exists, drained = kubectl.node_exists(name), True
        if exists and kubectl.kubelet_version(name) != wanted:
            upgrade_node(request, kubectl)
        elif exists and runtime_is_outdated(request):
            replace_runtime(request, kubectl)
        else:
            drained = False
        kubectl.wait_for_node(name, wanted)
        if drained:
            kubectl.wait_for_deployments()
        if request.node.role == "worker":
            kubectl.spread_coredns()
    print(f"{name} is Ready with {wanted}")
