"""Step "packages": the distribution's packages, containerd, and Kubernetes' binaries on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_command import remote

from infra.kubeadm.plan import ClusterPlan
from infra.kubeadm.step import remote_script
from infra.machine import Machine
from settings.paths import VERSIONS

UPSTREAMS = ("registry.k8s.io", "docker.io", "quay.io", "ghcr.io", "gcr.io")
"""Hosts in the image names of the manifests."""
PAUSE = f"registry.k8s.io/pause:{VERSIONS['kubernetes']['pause']}"


def install_node_packages(machine: Machine, plan: ClusterPlan, depends_on: Sequence[pulumi.Resource]) -> remote.Command:
    """Install everything that kubeadm needs; return the last command."""
    registry = plan.registry
    options = plan.options(depends_on)
    holds_address = plan.virtual_address and machine.role == "control-plane"
    variables = {**plan.proxy, **({"MORE_PACKAGES": "keepalived"} if holds_address else {})}
    system = remote_script(f"{machine.name}-system", machine, plan, "system.sh", variables, opts=options)
    containerd = remote_script(
        f"{machine.name}-containerd",
        machine,
        plan,
        "containerd.sh",
        {"PAUSE": PAUSE, "MIRROR": registry.host if registry else "", "UPSTREAMS": " ".join(UPSTREAMS), **plan.proxy},
        stdin=plan.packages.credentials,
        opts=plan.options([*depends_on, system, *(registry.depends_on if registry else ())]),
    )
    return remote_script(
        f"{machine.name}-kubernetes",
        machine,
        plan,
        "kubernetes.sh",
        {"VERSION": plan.settings.version, "FROM": plan.packages.origin, "PACKAGE_SET": "node", **plan.proxy},
        stdin=plan.packages.credentials,
        opts=plan.options([*depends_on, containerd]),
    )
