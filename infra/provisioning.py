"""The machines of a stack, from the source that its settings name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi

from infra.blob_account import BlobAccount
from infra.hosts import hosts
from infra.lab.lab import Lab
from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import InfraSettings
from settings.machines.lab_settings import BRIDGE, VIRTUAL_ADDRESS


@dataclass(frozen=True)
class ProvisionedMachines:
    """Machines, and the resources that their source provides with them.

    `address` is this computer's address on the machines' network, None if it has no address there. Servers at that
    address wait for `network`. `endpoint` is the host name of the API server for this computer, None for the control
    plane's public address. `virtual_address` is used for the API server of several control planes unless the settings
    have one.
    """

    machines: Sequence[Machine]
    address: str | None = None
    network: Sequence[pulumi.Resource] = field(default_factory=tuple)
    endpoint: pulumi.Input[str] | None = None
    virtual_address: str | None = None
    registry: ContainerRegistry | None = None
    storage: BlobAccount | None = None


def provision_machines(settings: InfraSettings, stack: str, directory: Path) -> ProvisionedMachines:
    """Create the machines of the settings, or return the existing ones.

    Args:
        settings: of the infrastructure.
        stack: name of the stack.
        directory: folder for files of the stack on this computer.
    """
    if settings.machines == "lab":
        lab = Lab("lab", settings=settings.lab, stack=stack, directory=directory)
        subnet, several = settings.lab.subnet, settings.lab.control_planes > 1
        virtual_address = str(subnet[VIRTUAL_ADDRESS]) if several else None
        return ProvisionedMachines(lab.machines, str(subnet[BRIDGE]), [lab.network], virtual_address=virtual_address)
    if settings.machines == "azure":
        # The SDK takes five seconds to import.
        from infra.azure.site import AzureSite

        assert settings.azure is not None  # checked by the settings
        site = AzureSite("azure", settings=settings.azure, stack=stack)
        return ProvisionedMachines(site.machines, endpoint=site.endpoint, registry=site.registry, storage=site.storage)
    assert settings.hosts is not None  # checked by the settings
    return ProvisionedMachines(hosts(settings.hosts), endpoint=settings.kubernetes.endpoint)
