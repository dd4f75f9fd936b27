"""Settings of the namespace `infra`: machines and the cluster."""

from __future__ import annotations

import ipaddress
import itertools
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, model_validator

from settings.paths import VERSIONS
from settings.types import PRIVATE, HostKey, HostName, Name, Section, Subnet


class LabSettings(Section):
    """Machines inside this computer: the first is the control plane, the others are workers."""

    size: int = Field(default=3, ge=1, le=10)
    subnet: Subnet = ipaddress.IPv4Network("10.20.0.0/24")
    """Of the bridge that connects them; this computer has its first address."""


class BastionSettings(Section):
    """The machine through which the others are reached; user and key are the hosts' own unless given."""

    address: str
    port: int = Field(default=22, ge=1, le=65535)
    user: str | None = None
    host_key: HostKey


class HostSettings(Section):
    """One machine of your own."""

    name: HostName
    address: str
    """Where SSH reaches it from here."""
    private_address: str | None = None
    """What the other machines know it by, if that is another one."""
    role: Literal["control-plane", "worker"] = "worker"
    host_key: HostKey
    port: int = Field(default=22, ge=1, le=65535)


class HostsSettings(Section):
    """Your own machines over SSH, with a user who may use sudo without a password."""

    user: str
    private_key: SecretStr | None = None
    private_key_file: str | None = None
    machines: list[HostSettings] = Field(min_length=1)
    bastion: BastionSettings | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> HostsSettings:
        if (self.private_key is None) == (self.private_key_file is None):
            raise ValueError("set one of private_key (a secret) and private_key_file")
        names = [machine.name for machine in self.machines]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"machines: the name {', '.join(doubled)} is given twice")
        planes = [machine.name for machine in self.machines if machine.role == "control-plane"]
        if len(planes) != 1:
            raise ValueError(
                f"machines: one must have role: control-plane, found {len(planes)}: {', '.join(planes) or 'none'}"
            )
        return self


class AksSettings(Section):
    """A cluster of Azure Kubernetes Service, whose control plane and network are Azure's."""

    version: Annotated[str, StringConstraints(pattern=r"^1\.\d+(\.\d+)?$")] = "1.34"
    nodes: int = Field(default=2, ge=1, le=100)


class AzureSettings(Section):
    """Machines in a virtual network of Azure, or with `aks` a managed cluster there."""

    operator: Subnet
    """Where you are: the only address, or range of addresses, that may use SSH."""
    location: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")] = "westeurope"
    network: Subnet = ipaddress.IPv4Network("10.30.0.0/16")
    workers: int = Field(default=2, ge=0, le=100)
    size: Annotated[str, StringConstraints(pattern=r"^Standard_\w+$")] = "Standard_DS2_v2"
    image: Annotated[str, StringConstraints(pattern=r"^[\w-]+:[\w-]+:[\w-]+:\d+\.\d+\.\d+$")] = (
        "Canonical:ubuntu-24_04-lts:server:24.04.202609040"
    )
    """`publisher:offer:sku:version`, as `az vm image list` prints it. What `latest` is changes by the week."""
    os_disk_gb: int = Field(default=64, ge=30, le=4095)
    data_disk_gb: int = Field(default=50, ge=4, le=32767)
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "azureuser"
    private_key: SecretStr | None = None
    """Of `user`, without a passphrase, RSA or Ed25519; without one, the stack makes its own."""
    private_key_file: str | None = None
    api_from: list[Subnet] = Field(default_factory=list)
    """Who else than the operator may reach the API server."""
    services_from: list[Subnet] = Field(default_factory=list)
    """Who else than the operator may reach the node ports, 30000 to 32767."""
    bastion: bool = False
    """One small machine with a public address in front of the others, which then have none."""
    registry: bool = False
    """A container registry, with a token that can do nothing but pull."""
    storage: Name | None = None
    """The name of a private blob container, in a storage account made for it."""
    tags: dict[str, str] = Field(default_factory=dict)
    aks: AksSettings | None = None

    @model_validator(mode="after")
    def _is_not_open_to_the_world(self) -> AzureSettings:
        if self.operator.prefixlen < 16:
            raise ValueError(
                f"operator: {self.operator} is open to too many: give your own address, as in 203.0.113.7, or your "
                "company's range, /16 at the widest"
            )
        if not any(self.network.subnet_of(private) for private in PRIVATE) or self.network.prefixlen > 24:
            ranges = ", ".join(str(private) for private in PRIVATE)
            raise ValueError(f"network: {self.network} has to be a /24 or wider within {ranges}")
        if self.private_key and self.private_key_file:
            raise ValueError("set one of private_key (a secret) and private_key_file, or neither")
        if self.bastion and self.services_from:
            raise ValueError("services_from: behind a bastion no machine has an address that others could come to")
        return self


class ExistingClusterSettings(Section):
    """A cluster that exists, by a kubeconfig: its content as a secret, or a file on this computer."""

    kubeconfig: SecretStr | None = None
    kubeconfig_file: str | None = None
    context: str | None = None
    """Of that kubeconfig; its current one where unset."""

    @model_validator(mode="after")
    def _is_one_kubeconfig(self) -> ExistingClusterSettings:
        if (self.kubeconfig is None) == (self.kubeconfig_file is None):
            raise ValueError("set one of kubeconfig (a secret) and kubeconfig_file")
        if self.kubeconfig_file and not Path(self.kubeconfig_file).expanduser().is_file():
            raise ValueError(f"kubeconfig_file: there is no file {self.kubeconfig_file}")
        return self


class KubernetesSettings(Section):
    """The cluster that kubeadm makes."""

    version: Annotated[str, StringConstraints(pattern=r"^1\.\d+\.\d+$")] = VERSIONS["kubernetes"]["version"]
    pod_subnet: Subnet = ipaddress.IPv4Network("10.32.0.0/16")
    service_subnet: Subnet = ipaddress.IPv4Network("10.96.0.0/16")
    packages: Literal["bundle", "upstream"] = "upstream"
    """Where nodes get kubeadm, kubelet, kubectl: from the registry that `make bundle` fills, or from pkgs.k8s.io."""
    names: list[str] = Field(default_factory=list)
    """Further names and addresses of the API server, for its certificate."""
    endpoint: str | None = None
    """Host name or address by which this computer reaches the API server, if it is not the control plane's own."""


class InfraSettings(Section):
    """Where the machines and the cluster come from."""

    machines: Literal["none", "lab", "hosts", "azure"] = "none"
    cluster: Literal["none", "kubeadm", "existing"] = "none"
    lab: LabSettings = LabSettings()
    hosts: HostsSettings | None = None
    azure: AzureSettings | None = None
    existing: ExistingClusterSettings | None = None
    kubernetes: KubernetesSettings = KubernetesSettings()

    @model_validator(mode="after")
    def _machines_and_cluster_go_together(self) -> InfraSettings:
        if (self.machines != "none") != (self.cluster == "kubeadm"):
            raise ValueError(
                f"machines: {self.machines} does not go with cluster: {self.cluster}; kubeadm takes machines, "
                "none and existing take none"
            )
        if self.machines == "hosts" and self.hosts is None:
            raise ValueError("machines: hosts takes infra:hosts, the machines' addresses, user and key")
        if self.machines == "azure" and self.azure is None:
            raise ValueError("machines: azure takes infra:azure, at least the operator's address")
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
        for (one, a), (other, b) in itertools.combinations(subnets.items(), 2):
            if a.overlaps(b):
                raise ValueError(f"{one} {a} overlaps with {other} {b}; give each addresses of its own")
        return self
