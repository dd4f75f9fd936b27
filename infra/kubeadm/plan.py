"""Inputs that all steps of a kubeadm cluster share."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings


@dataclass(frozen=True)
class PackageSource:
    """The origin of Kubernetes' binaries, as `scripts/kubernetes.sh` reads it.

    `origin` is "upstream" or the registry's host with its project. `credentials` are secret: the registry's
    `user:password` in Base64, a line break, and its certificate authority in PEM format. All are empty without a
    registry.
    """

    origin: pulumi.Input[str]
    credentials: pulumi.Output[str]


@dataclass(frozen=True)
class ClusterPlan:
    """A cluster to install: its machines, settings and package source.

    `api_host` is the host name or address at which this computer reaches the API server. `component` is the parent of
    every resource of the cluster.
    """

    name: str
    control_plane: Machine
    workers: Sequence[Machine]
    settings: KubernetesSettings
    registry: ContainerRegistry | None
    packages: PackageSource
    api_host: pulumi.Input[str]
    component: pulumi.Resource

    @property
    def machines(self) -> list[Machine]:
        """All machines, the control plane first."""
        return [self.control_plane, *self.workers]

    def options(
        self, depends_on: Sequence[pulumi.Resource], deleted_with: pulumi.Resource | None = None
    ) -> pulumi.ResourceOptions:
        """Return the options of a resource of this cluster."""
        return pulumi.ResourceOptions(parent=self.component, depends_on=list(depends_on), deleted_with=deleted_with)


def package_source(settings: KubernetesSettings, registry: ContainerRegistry | None) -> PackageSource:
    """Return the package source of the settings."""
    if registry is None:
        return PackageSource("upstream", pulumi.Output.from_input("\n"))
    credentials = pulumi.Output.all(username=registry.username, password=registry.password, ca=registry.ca).apply(
        _format_credentials
    )
    return PackageSource(registry.host if settings.packages == "bundle" else "upstream", credentials)


def _format_credentials(registry: dict[str, str]) -> str:
    login = base64.b64encode(f"{registry['username']}:{registry['password']}".encode()).decode()
    return f"{login}\n{registry['ca']}"
