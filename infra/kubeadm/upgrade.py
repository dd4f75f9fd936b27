"""Step "upgrade": bring a control plane to the wanted versions. `ready.py` upgrades workers."""

from __future__ import annotations

import re

import pulumi
from pulumi_command import local

from infra.errors import UserError
from infra.kubeadm.etcd import remove_replaced_members
from infra.kubeadm.kubectl import Kubectl, kubectl_on
from infra.kubeadm.packages import (
    replace_runtime,
    replace_runtime_of_drained_node,
    runtime_is_outdated,
    runtime_variables,
)
from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import VersionRequest, local_step, node_inputs, run_script
from infra.machine import Machine
from infra.ssh import connected


def version_inputs(plan: ClusterPlan, machine: Machine) -> dict[str, pulumi.Input[object]]:
    """Return the inputs of a `VersionRequest`."""
    return {
        **node_inputs(plan, machine),
        "version": plan.settings.version,
        "origin": plan.packages.origin,
        "credentials": plan.packages.credentials,
        "proxy": dict(plan.proxy),
        "runtime": runtime_variables(plan),
    }


def upgrade_control_plane(machine: Machine, plan: ClusterPlan, opts: pulumi.ResourceOptions) -> local.Command:
    """Upgrade one control plane. They come before all workers: kubeadm does not join workers to an older one."""
    return local_step(
        f"{machine.name}-upgrade",
        version_inputs(plan, machine),
        create="upgrade",
        opts=opts,
    )


def upgrade(request: VersionRequest) -> None:
    """Upgrade a control plane that has other versions than the wanted ones. It may still wait for a pod network.

    Raises:
        UserError: kubeadm cannot upgrade from the current version to the wanted one (nothing was changed), or failed.
    """
    name, wanted = request.node.name, f"v{request.version}"
    with kubectl_on(request, [request.node]) as kubectl:
        # An upgrade that was killed may have upgraded the API server and not the kubelet.
        server, kubelet = kubectl.server_version(), kubectl.kubelet_version(name)
        if not kubelet == server == wanted:
            if refusal := upgrade_refusal(server, wanted):
                raise UserError(f"infra:kubernetes.version: {refusal}")
            remove_replaced_members(kubectl, request)
            upgrade_node(request, kubectl)
            kubectl.wait_for_stable_api_server()
        elif runtime_is_outdated(request):
            replace_runtime(request, kubectl)
        else:
            print(f"{name} has {wanted}")
            return
        kubectl.wait_for_node(name, wanted)
        kubectl.wait_for_deployments()
    print(f"{name} was upgraded to {wanted}")


def upgrade_node(request: VersionRequest, kubectl: Kubectl) -> None:
    """Upgrade one node in kubeadm's order: kubeadm, its static pods or settings, and after a drain the rest."""
    node, version = request.node, request.version
    with connected(node) as shell:

        def install(package_set: str) -> None:
            environment = {"VERSION": version, "FROM": request.origin, "PACKAGE_SET": package_set, **request.proxy}
            action = f"{node.name}: installing {package_set} v{version}"
            print(run_script(shell, action, request, "packages/kubernetes.sh", environment, request.credentials))

        install("kubeadm")
        # `kubeadm upgrade apply` upgrades the cluster's objects, too, and runs on one control plane.
        other = node.name in {machine.name for machine in request.other_control_planes}
        environment = {"VERSION": version, "ROLE": "other-control-plane" if other else node.role}
        print(run_script(shell, f"{node.name}: kubeadm upgrade", request, "upgrade.sh", environment))
        kubectl.cordon(node.name)
        kubectl.drain(node.name)
        # Before the kubelet, so that an upgrade that is killed here begins again.
        replace_runtime_of_drained_node(request, shell)
        install("kubelet")


def upgrade_refusal(current: str, wanted: str) -> str | None:
    """Return the reason why kubeadm cannot upgrade a control plane between two versions, None if it can.

    kubeadm upgrades to a newer patch version or to the next minor version.
    """
    (major, minor, patch), new = _numbers(current), _numbers(wanted)
    if new < (major, minor, patch):
        return f"the cluster has {current}, and kubeadm does not go back to {wanted}: set {current} or a newer version"
    if new[:2] > (major, minor + 1):
        return f"kubeadm does not go from {current} to {wanted} past v{major}.{minor + 1}: set a version of that first"
    return None


def _numbers(version: str) -> tuple[int, int, int]:
    major, minor, patch = re.findall(r"\d+", version)[:3]
    return int(major), int(minor), int(patch)
