"""Settings of `infra:azure`: virtual machines, or a managed cluster."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, model_validator

from settings.machines.control_planes import ControlPlanes
from settings.types import PRIVATE, ContainerName, Section, Subnet


class AksSettings(Section):
    """A cluster of Azure Kubernetes Service. Azure runs its control plane and network."""

    version: Annotated[str, StringConstraints(pattern=r"^1\.\d+(\.\d+)?$")] = "1.34"
    """Kubernetes version."""
    nodes: int = Field(default=2, ge=1, le=100)
    """Number of nodes."""


Zone = Annotated[int, Field(ge=1, le=3)]


class AzureSettings(Section):
    """Virtual machines in a virtual network of Azure, or a managed cluster there."""

    operator: Subnet
    """Your public address, or a range of addresses, /16 at the widest. Only these may use SSH. They may also use the
    API server and the node ports."""
    location: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+$")] = "westeurope"
    """Azure region."""
    network: Subnet = ipaddress.IPv4Network("10.30.0.0/16")
    """Address range of the virtual network: private, /24 or wider. The machines get addresses from its first 256."""
    control_planes: ControlPlanes = 1
    """Number of machines with a control plane: 1, 3 or 5. Several get a load balancer with a public address."""
    workers: int = Field(default=2, ge=0, le=100)
    """Number of machines in addition to the control planes."""
    zones: list[Zone] = Field(default_factory=list)
    """Availability zones of the region, as in `[1, 2, 3]`: new machines are spread over them. Machines that exist stay
    where they are. Unset: Azure chooses."""
    size: Annotated[str, StringConstraints(pattern=r"^Standard_\w+$")] = "Standard_DS2_v2"
    """Size of each machine, or of each AKS node."""
    image: Annotated[str, StringConstraints(pattern=r"^[\w-]+:[\w-]+:[\w-]+:\d+\.\d+\.\d+$")] = (
        "Canonical:ubuntu-24_04-lts:server:24.04.202609040"
    )
    """Image of the machines as `publisher:offer:sku:version`, as `az vm image list` prints it. The version is a number,
    because the image behind `latest` changes."""
    os_disk_gb: int = Field(default=64, ge=30, le=4095)
    """Size of the system disk in GB."""
    data_disk_gb: int = Field(default=50, ge=4, le=32767)
    """Size in GB of the disk for volumes."""
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] = "azureuser"
    """SSH user on the machines."""
    private_key: SecretStr | None = None
    """Private key of the user: RSA or Ed25519, without a passphrase. Unset, with `private_key_file` unset: the stack
    creates a key."""
    private_key_file: str | None = None
    """File with the private key."""
    api_from: list[Subnet] = Field(default_factory=list)
    """Further addresses that may use the API server, in CIDR notation."""
    services_from: list[Subnet] = Field(default_factory=list)
    """Further addresses that may use the node ports, 30000 to 32767, in CIDR notation. Not with `bastion: true`."""
    bastion: bool = False
    """Create a small machine with a public address in front of the others. The other machines get no public address."""
    registry: bool = False
    """Create a container registry for the stack, instead of `platform:registry.url`. Nodes get a token that can only
    pull. This computer gets a token that can push the images built here."""
    storage: ContainerName | None = None
    """Name of a private blob container that the stack creates, with a storage account. It replaces
    `platform:blobs.account_url`: pipelines read from it, and `platform:blobs.upload` writes to it. Unset: no storage
    account."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of all Azure resources that can have tags."""
    aks: AksSettings | None = None
    """Create a managed cluster instead of machines. Set `{}` to accept the defaults, with `infra:machines: none` and
    `infra:cluster: existing`. Unset: no managed cluster."""

    @model_validator(mode="after")
    def _check_exposure(self) -> AzureSettings:
        if self.operator.prefixlen < 16:
            raise ValueError(
                f"operator: {self.operator} includes too many addresses; set your own address, as in 203.0.113.7, or "
                "the range of your company, /16 at the widest"
            )
        if not any(self.network.subnet_of(private) for private in PRIVATE) or self.network.prefixlen > 24:
            ranges = ", ".join(str(private) for private in PRIVATE)
            raise ValueError(f"network: {self.network} is not allowed; set a /24 or wider within {ranges}")
        if self.private_key and self.private_key_file:
            raise ValueError("private_key and private_key_file are both set; set one of them, or neither")
        if self.bastion and self.services_from:
            raise ValueError(
                "services_from: not with bastion: true, because the machines then have no public address; remove "
                "services_from or bastion"
            )
        return self
