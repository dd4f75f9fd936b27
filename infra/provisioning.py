"""The machines of a stack, wherever its settings say that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pulumi

from infra.blob_account import BlobAccount
from infra.hosts import hosts
from infra.lab.lab_machines import LabNetwork, lab_machines
from infra.machine import Machine
from infra.registry import ContainerRegistry
from settings.infra import InfraSettings


@dataclass(frozen=True)
class ProvisionedMachines:
    """Machines, and what came with them.

    `address` is this computer's own on their network, None where it is elsewhere; what this computer serves there waits
    for `network`. `endpoint` is how this computer reaches the API server, if it is not the control plane's own address.
    """

    machines: Sequence[Machine]
    address: str | None = None
    network: Sequence[pulumi.Resource] = field(default_factory=tuple)
    endpoint: pulumi.Input[str] | None = None
    registry: ContainerRegistry | None = None
    storage: BlobAccount | None = None


def provision_machines(settings: InfraSettings, stack: str, directory: Path) -> ProvisionedMachines:
    """Make them, or take those that there are."""
    if settings.machines == "lab":
        subnet = settings.lab.subnet
        network = LabNetwork("lab-network", stack=stack, subnet=str(subnet))
        return ProvisionedMachines(lab_machines(settings.lab, network, stack, directory), str(subnet[1]), [network])
    if settings.machines == "azure":
        # Its SDK takes five seconds to load.
        from infra.azure.site import azure_site

        assert settings.azure is not None  # the settings see to it
        site = azure_site(settings.azure, stack)
        return ProvisionedMachines(site.machines, endpoint=site.endpoint, registry=site.registry, storage=site.storage)
    assert settings.hosts is not None  # likewise
    return ProvisionedMachines(hosts(settings.hosts), endpoint=settings.kubernetes.endpoint)
