"""Settings of the namespace `infra`: machines and the cluster."""

from __future__ import annotations

import ipaddress
import itertools
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from settings.machines.azure_settings import AzureSettings
from settings.machines.control_planes import check_control_planes
from settings.machines.lab_settings import LabSettings
from settings.paths import VERSIONS
from settings.types import HostKey, HostName, Section, Subnet

OLDEST_MINOR = 32
"""Oldest minor version of Kubernetes 1 that has the phases of `kubeadm upgrade apply`."""


class BastionSettings(Section):
    """A machine that forwards SSH connections to the hosts. It accepts the private key of the hosts."""

    address: str
    """Address of the bastion from this computer."""
    port: int = Field(default=22, ge=1, le=65535)
    """SSH port of the bastion."""
    user: str | None = None
    """SSH user on the bastion. Unset: `infra:hosts.user`."""
    host_key: HostKey
    """Public host key of the bastion, as in `infra:hosts.machines.host_key`."""


class HostSettings(Section):
    """A machine with an SSH server."""

    name: HostName
    """Name of the node."""
    address: str
    """Address of the machine for SSH from this computer."""
    private_address: str | None = None
    """Address of the machine for the other machines. Unset: `address`."""
    role: Literal["control-plane", "worker"] = "worker"
    """Role in the cluster. One, three or five machines have `control-plane`; see `infra:kubernetes.virtual_address`."""
    host_key: HostKey
    """Public host key: the output of `ssh-keyscan -t ed25519 ADDRESS` after the address. A machine that presents
    another key is refused."""
    port: int = Field(default=22, ge=1, le=65535)
    """SSH port."""


class HostsSettings(Section):
    """Existing machines that are reached over SSH."""

    user: str
    """SSH user, who may use sudo without a password."""
    private_key: SecretStr | None = None
    """Private key of the user. Set either this or `private_key_file`."""
    private_key_file: str | None = None
    """File with the private key: Ed25519, RSA or ECDSA, without a passphrase."""
    machines: list[HostSettings] = Field(min_length=1)
    """List of the machines."""
    bastion: BastionSettings | None = None
    """Machine that forwards SSH connections to the others. Unset: direct connections."""

    @model_validator(mode="after")
    def _check_hosts(self) -> HostsSettings:
        if (self.private_key is None) == (self.private_key_file is None):
            raise ValueError("set one of private_key (a secret) and private_key_file")
        names = [machine.name for machine in self.machines]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"machines: the name {', '.join(repeated)} is given twice; give each machine another name")
        check_control_planes([machine.name for machine in self.machines if machine.role == "control-plane"])
        return self


class ExistingClusterSettings(Section):
    """An existing cluster, given by a kubeconfig."""

    kubeconfig: SecretStr | None = None
    """Content of the kubeconfig. Set either this or `kubeconfig_file`."""
    kubeconfig_file: str | None = None
    """File with the kubeconfig, on this computer."""
    context: str | None = None
    """Context of the kubeconfig. Unset: its current context."""

    @model_validator(mode="after")
    def _check_kubeconfig(self) -> ExistingClusterSettings:
        if (self.kubeconfig is None) == (self.kubeconfig_file is None):
            raise ValueError("set one of kubeconfig (a secret) and kubeconfig_file")
        if self.kubeconfig_file and not Path(self.kubeconfig_file).expanduser().is_file():
            raise ValueError(f"kubeconfig_file: there is no file {self.kubeconfig_file}")
        return self


ProxyUrl = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/@]+/?$")]


class ProxySettings(Section):
    """HTTP proxy of the site, for the machines' downloads of packages and images. Pods do not use it."""

    http: ProxyUrl | None = None
    """Proxy for `http://` addresses, as in `http://proxy.example.com:3128`. User names and passwords are not supported,
    because every process list of the machines would show them."""
    https: ProxyUrl | None = None
    """Proxy for `https://` addresses."""
    no_proxy: list[str] = Field(default_factory=list)
    """Further host names, domains (`.example.com`) and addresses without the proxy. The machines, pods, Services and
    the registry are always reached directly."""

    @model_validator(mode="after")
    def _check_proxy(self) -> ProxySettings:
        if self.http is None and self.https is None:
            raise ValueError("set http, https or both, or remove the proxy")
        return self


class KubernetesSettings(Section):
    """The cluster that kubeadm creates."""

    version: Annotated[str, StringConstraints(pattern=r"^1\.\d+\.\d+$")] = VERSIONS["kubernetes"]["version"]
    """Kubernetes version, 1.32 or newer. A newer version upgrades the cluster, see
    [Operating](operate.md#upgrade-kubernetes)."""
    pod_subnet: Subnet = ipaddress.IPv4Network("10.32.0.0/16")
    """Address range of pods."""
    service_subnet: Subnet = ipaddress.IPv4Network("10.96.0.0/16")
    """Address range of Services."""
    packages: Literal["bundle", "upstream"] = "upstream"
    """Source of kubeadm, kubelet, kubectl, containerd and runc. `bundle` is the registry that `make bundle` fills.
    `upstream` is pkgs.k8s.io, and the machine's distribution for containerd and runc."""
    names: list[str] = Field(default_factory=list)
    """Further names and addresses of the API server, for its certificate."""
    endpoint: str | None = None
    """With `infra:machines: hosts`: host name or IPv4 address of the API server for this computer. With several control
    planes and no `virtual_address`, it is a load balancer in front of them (port 6443), which the nodes use, too.
    Unset: `virtual_address`, or the address of the control plane."""
    virtual_address: ipaddress.IPv4Address | None = None
    """Unused address in the control planes' network, for the API server. keepalived moves it when a machine or an API
    server fails. Unset: none; a lab with several control planes takes the tenth address of its subnet."""

    @field_validator("version")
    @classmethod
    def _check_version(cls, version: str) -> str:
        if int(version.split(".")[1]) < OLDEST_MINOR:
            raise ValueError(
                f"{version} is too old: `make up` runs `kubeadm upgrade apply phase`, which exists since "
                f"1.{OLDEST_MINOR}; set 1.{OLDEST_MINOR}.0 or newer"
            )
        return version

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str | None) -> str | None:
        if endpoint and not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", endpoint):
            raise ValueError(
                "write a host name or an IPv4 address alone, in lower case, without https://, port and path; the port "
                "is always 6443"
            )
        return endpoint


class InfraSettings(Section):
    """The source of the machines and of the cluster."""

    machines: Literal["none", "lab", "hosts", "azure"] = "none"
    """Source of the machines: `lab` creates machines inside this computer, `hosts` takes existing machines over SSH,
    `azure` creates virtual machines in Azure."""
    cluster: Literal["none", "kubeadm", "existing"] = "none"
    """Source of the cluster: `kubeadm` creates a cluster on the machines, `existing` takes a cluster that exists and
    needs no machines."""
    lab: LabSettings = LabSettings()
    """Machines inside this computer, for `infra:machines: lab`."""
    hosts: HostsSettings | None = None
    """Existing machines. Required with `infra:machines: hosts`."""
    azure: AzureSettings | None = None
    """Azure. Required with `infra:machines: azure`, and for a managed cluster that the stack creates."""
    existing: ExistingClusterSettings | None = None
    """Kubeconfig of a cluster. With `infra:cluster: existing`, set either this or `infra:azure.aks`."""
    kubernetes: KubernetesSettings = KubernetesSettings()
    """Cluster that kubeadm creates, for `infra:cluster: kubeadm`."""
    proxy: ProxySettings | None = None
    """HTTP proxy of the site, for `infra:cluster: kubeadm`. Unset: direct connections."""

    @model_validator(mode="after")
    def _check_machines_and_cluster(self) -> InfraSettings:
        if (self.machines != "none") != (self.cluster == "kubeadm"):
            raise ValueError(
                f"machines: {self.machines} does not go with cluster: {self.cluster}; kubeadm needs machines: lab, "
                "hosts or azure, and cluster: none or existing needs machines: none"
            )
        if self.machines == "hosts" and self.hosts is None:
            raise ValueError("machines: hosts needs infra:hosts, the machines' addresses, user and key")
        if self.machines == "azure" and self.azure is None:
            raise ValueError("machines: azure needs infra:azure, at least the operator's address")
        if self.cluster == "existing" and (self.existing is None) == (self.azure is None or self.azure.aks is None):
            raise ValueError("cluster: existing takes one of infra:existing, a kubeconfig, and infra:azure.aks")
        subnets = {
            "kubernetes.pod_subnet": self.kubernetes.pod_subnet,
            "kubernetes.service_subnet": self.kubernetes.service_subnet,
        }
        if self.machines == "lab":
            subnets["lab.subnet"] = self.lab.subnet
        if self.machines == "azure" and self.azure:
            subnets["azure.network"] = self.azure.network
        for (name, subnet), (other_name, other_subnet) in itertools.combinations(subnets.items(), 2):
            if subnet.overlaps(other_subnet):
                raise ValueError(
                    f"{name} {subnet} overlaps with {other_name} {other_subnet}; set two ranges that do not overlap"
                )
        return self

    @model_validator(mode="after")
    def _check_api_address(self) -> InfraSettings:
        address, hosts = self.kubernetes.virtual_address, self.hosts.machines if self.hosts else []
        planes = [host.name for host in hosts if host.role == "control-plane"]
        if self.machines == "hosts" and len(planes) > 1 and not address and not self.kubernetes.endpoint:
            raise ValueError(
                f"kubernetes: the control planes {', '.join(planes)} need one address for their API server: set "
                "virtual_address to an unused address in their network, or endpoint to your load balancer"
            )
        if self.kubernetes.endpoint and self.machines in ("lab", "azure"):
            raise ValueError(
                f"kubernetes.endpoint: {self.kubernetes.endpoint}: this is a load balancer for machines: hosts, and "
                f"machines is {self.machines}; remove the setting"
            )
        if address and self.machines == "azure":
            raise ValueError(
                f"kubernetes.virtual_address: {address}: Azure does not move addresses, and several control planes get "
                "a load balancer; remove the setting"
            )
        if address and self.machines == "lab" and address not in self.lab.subnet:
            raise ValueError(f"kubernetes.virtual_address: {address} is outside of lab.subnet {self.lab.subnet}")
        taken = [host.name for host in hosts if str(address) in (host.address, host.private_address)]
        if self.machines == "hosts" and taken:
            raise ValueError(f"kubernetes.virtual_address: {address} is the address of {taken[0]}; set an unused one")
        return self
