"""Step 2: what a node is made of: packages of its distribution, containerd, and Kubernetes' own binaries."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pulumi
from pulumi_command import remote

from infra.kubeadm.remote_script import remote_script
from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings
from settings.paths import VERSIONS

UPSTREAMS = ("registry.k8s.io", "docker.io", "quay.io", "ghcr.io", "gcr.io")
"""The hosts of the images that manifests here name."""
PAUSE = f"registry.k8s.io/pause:{VERSIONS['kubernetes']['pause']}"


@dataclass(frozen=True)
class PackageSource:
    """As the scripts take it: `origin` is "upstream" or the registry's host with its project.

    `credentials` are the registry's user and password in Base64, a line break, and its certificate authority; secret.
    """

    origin: pulumi.Input[str]
    credentials: pulumi.Output[str]


def packages(
    machine: Machine, settings: KubernetesSettings, registry: ContainerRegistry | None, opts: pulumi.ResourceOptions
) -> remote.Command:
    """Make a machine ready for kubeadm. Returns the last command."""
    system = remote_script(f"{machine.name}-system", machine, "system.sh", {}, opts=opts)
    source = package_source(settings, registry)
    after = pulumi.ResourceOptions(depends_on=[system, *(registry.depends_on if registry else ())])
    containerd = remote_script(
        f"{machine.name}-containerd",
        machine,
        "containerd.sh",
        {"PAUSE": PAUSE, "MIRROR": registry.host if registry else "", "UPSTREAMS": " ".join(UPSTREAMS)},
        stdin=source.credentials,
        opts=pulumi.ResourceOptions.merge(opts, after),
    )
    return remote_script(
        f"{machine.name}-kubernetes",
        machine,
        "kubernetes.sh",
        {"VERSION": settings.version, "FROM": source.origin, "WHAT": "node"},
        stdin=source.credentials,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[containerd])),
    )


def package_source(settings: KubernetesSettings, registry: ContainerRegistry | None) -> PackageSource:
    """Where the settings say that packages come from."""
    if registry is None:
        return PackageSource("upstream", pulumi.Output.from_input("\n"))
    credentials = pulumi.Output.all(username=registry.username, password=registry.password, ca=registry.ca).apply(
        _written
    )
    return PackageSource(registry.host if settings.packages == "bundle" else "upstream", credentials)


def _written(registry: dict[str, str]) -> str:
    login = base64.b64encode(f"{registry['username']}:{registry['password']}".encode()).decode()
    return f"{login}\n{registry['ca']}"
