"""Step "packages": the distribution's packages, containerd, and Kubernetes' binaries on every machine.

On a node, containerd and runc are replaced in its turn, after a drain.
"""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_command import remote

from infra.kubeadm.kubectl import Kubectl
from infra.kubeadm.plan import DISTRIBUTION, ClusterPlan
from infra.kubeadm.step import VersionRequest, remote_script, run_script
from infra.machine import Machine
from infra.ssh import Shell, connected, file_exists
from settings.paths import VERSIONS

UPSTREAMS = ("registry.k8s.io", "docker.io", "quay.io", "ghcr.io", "gcr.io")
"""Hosts in the image names of the manifests."""
PAUSE = f"registry.k8s.io/pause:{VERSIONS['kubernetes']['pause']}"
RUNTIME_SCRIPT = "packages/containerd.sh"
RUNTIME_RECORD = "/var/lib/mlplatform/container-runtime"
"""File on machines with the versions of containerd and runc that were installed from a registry."""


def install_node_packages(machine: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> remote.Command:
    """Install everything that kubeadm needs; return the last command."""
    registry, source = plan.registry, plan.packages
    holds_address = plan.virtual_address and machine.role == "control-plane"
    mirror = registry.host if registry else ""
    scripts: dict[str, dict[str, pulumi.Input[str]]] = {
        "system": {**plan.proxy, **({"MORE_PACKAGES": "keepalived"} if holds_address else {})},
        "containerd": runtime_variables(plan),
        "mirrors": {"PAUSE": PAUSE, "MIRROR": mirror, "UPSTREAMS": " ".join(UPSTREAMS), **plan.proxy},
        "kubernetes": {"VERSION": plan.settings.version, "FROM": source.origin, "PACKAGE_SET": "node", **plan.proxy},
    }
    last: list[remote.Command] = []
    for name, variables in scripts.items():
        needs_registry = name != "system"
        after = [*depends_on, *last, *(registry.depends_on if registry and needs_registry else ())]
        command = remote_script(
            f"{machine.name}-{name}",
            machine,
            plan,
            f"packages/{name}.sh",
            variables,
            stdin=source.credentials if needs_registry else None,
            opts=plan.options(after),
        )
        last = [command]
    return command


def runtime_variables(plan: ClusterPlan) -> dict[str, pulumi.Input[str]]:
    """Return the variables of `scripts/packages/containerd.sh`, without DRAINED."""
    return {"RUNTIME": plan.packages.runtime, "FROM": plan.packages.origin, "PAUSE": PAUSE, **plan.proxy}


def runtime_is_outdated(request: VersionRequest) -> bool:
    """Return True if the registry has other versions of containerd and runc than the machine.

    Packages of the distribution are updated with Kubernetes.

    Raises:
        UserError: the versions on the machine cannot be read.
    """
    wanted = request.runtime["RUNTIME"]
    if wanted == DISTRIBUTION:
        return False
    name = request.node.name
    with connected(request.node) as shell:
        if not file_exists(shell, name, RUNTIME_RECORD):
            return True
        installed = shell.run(f"sudo --non-interactive cat {RUNTIME_RECORD}")
        return installed.checked(f"{name}: reading the versions of containerd and runc").strip() != wanted


def replace_runtime(request: VersionRequest, kubectl: Kubectl) -> None:
    """Drain the node, and replace its containerd and runc. The node stays cordoned."""
    kubectl.cordon(request.node.name)
    kubectl.drain(request.node.name)
    with connected(request.node) as shell:
        replace_runtime_of_drained_node(request, shell)


def replace_runtime_of_drained_node(request: VersionRequest, shell: Shell) -> None:
    """Replace containerd and runc over an open connection to the node."""
    action = f"{request.node.name}: updating containerd and runc"
    environment = {**request.runtime, "DRAINED": "true"}
    print(run_script(shell, action, request, RUNTIME_SCRIPT, environment, request.credentials))
