"""Inputs that all steps of a kubeadm cluster share."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi

from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import KubernetesSettings, ProxySettings
from settings.paths import VERSIONS

DISTRIBUTION = "distribution"
"""Source of containerd and runc: the packages of the machine's distribution."""


@dataclass(frozen=True)
class PackageSource:
    """The origin of the programs of nodes, as the scripts of `scripts/packages` read it.

    `origin` is "upstream" or the registry's host with its project. `runtime` is "distribution" or the versions of
    containerd and runc in the registry. `credentials` are secret: the registry's `user:password` in Base64, a line
    break, and its certificate authority in PEM format. They are empty without a registry.
    """

    origin: pulumi.Input[str]
    runtime: str
    credentials: pulumi.Output[str]


ProxyEnvironment = Mapping[str, pulumi.Input[str]]
"""Environment variables of the site's HTTP proxy, empty without a proxy."""


def proxy_environment(
    proxy: ProxySettings | None,
    settings: KubernetesSettings,
    machines: Sequence[Machine],
    registry: ContainerRegistry | None,
    api_hosts: Sequence[pulumi.Input[str]],
) -> ProxyEnvironment:
    """Return the variables that curl, apt and containerd read. They reach the cluster and the registry directly."""
    if proxy is None:
        return {}
    direct: list[pulumi.Input[str]] = [
        *("localhost", "127.0.0.1", ".svc", ".cluster.local"),
        *(str(settings.pod_subnet), str(settings.service_subnet)),
        *(machine.private_address for machine in machines),
        *api_hosts,
        *([registry.host.apply(_host_name)] if registry else []),
        *proxy.no_proxy,
    ]
    values: dict[str, pulumi.Input[str]] = {
        "HTTP_PROXY": proxy.http or "",
        "HTTPS_PROXY": proxy.https or "",
        "NO_PROXY": pulumi.Output.all(*direct).apply(lambda known: ",".join(dict.fromkeys(known))),
    }
    # curl reads http_proxy in lower case only, and apt reads both in lower case only.
    return values | {name.lower(): value for name, value in values.items()}


def _host_name(registry: str) -> str:
    """Return the host without port and project."""
    return registry.partition("/")[0].rpartition(":")[0] or registry.partition("/")[0]


@dataclass(frozen=True)
class ClusterPlan:
    """A cluster to install: its machines, settings and package source.

    `api_host` is the host name or address at which this computer reaches the API server. Nodes reach it at
    `node_api_host`, None for the address of the only control plane. `virtual_address` is that address if keepalived
    moves it among the control planes, None without keepalived. `owner` is the
    content of the machines' owner files. `network` is weave or flannel. `proxy` holds environment variables for
    downloads. `component` is the parent of every resource of the cluster.
    """

    name: str
    control_planes: Sequence[Machine]
    workers: Sequence[Machine]
    settings: KubernetesSettings
    registry: ContainerRegistry | None
    packages: PackageSource
    api_host: pulumi.Input[str]
    node_api_host: pulumi.Input[str] | None
    virtual_address: str | None
    owner: pulumi.Output[str]
    network: str
    proxy: ProxyEnvironment
    component: pulumi.Resource

    @property
    def machines(self) -> list[Machine]:
        """All machines, the control planes first."""
        return [*self.control_planes, *self.workers]

    @property
    def control_plane(self) -> Machine:
        """The first control plane, which creates the cluster."""
        return self.control_planes[0]

    @property
    def other_control_planes(self) -> Sequence[Machine]:
        """The control planes that join the first one."""
        return self.control_planes[1:]

    def options(
        self, depends_on: Sequence[pulumi.Resource], deleted_with: pulumi.Resource | None = None
    ) -> pulumi.ResourceOptions:
        """Return the options of a resource of this cluster."""
        return pulumi.ResourceOptions(parent=self.component, depends_on=list(depends_on), deleted_with=deleted_with)


def package_source(settings: KubernetesSettings, registry: ContainerRegistry | None) -> PackageSource:
    """Return the package source of the settings."""
    if registry is None:
        return PackageSource("upstream", DISTRIBUTION, pulumi.Output.from_input("\n"))
    credentials = pulumi.Output.all(username=registry.username, password=registry.password, ca=registry.ca).apply(
        _format_credentials
    )
    if settings.packages == "upstream":
        return PackageSource("upstream", DISTRIBUTION, credentials)
    versions = VERSIONS["container_runtime"]
    return PackageSource(registry.host, f"{versions['containerd']}-runc-{versions['runc']}", credentials)


def _format_credentials(registry: dict[str, str]) -> str:
    login = base64.b64encode(f"{registry['username']}:{registry['password']}".encode()).decode()
    return f"{login}\n{registry['ca']}"
