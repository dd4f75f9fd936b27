"""Machines inside this Linux computer, on a network of their stack."""

from __future__ import annotations

import os
from pathlib import Path

import pulumi

from infra.lab.lab_machine import LabMachine
from infra.lab.lab_network import LabNetwork
from infra.lab.lab_root import USER, LabRoot
from infra.lab.requirements import require_inotify_instances
from infra.machine import Machine
from infra.secrets import SshKey
from settings.machines.lab_settings import LabSettings, machine_positions


class Lab(pulumi.ComponentResource):
    """A network of this computer with control planes and workers on it.

    Args:
        settings: size and subnet.
        stack: name of the stack, which owns network and machines.
        directory: folder for the machines' files.

    Attributes:
        machines: the control planes first.
        network: the network, on which this computer has an address too.

    Raises:
        RunError: the kernel's limit of inotify instances is too low.
    """

    machines: list[Machine]
    network: LabNetwork

    def __init__(
        self,
        name: str,
        *,
        settings: LabSettings,
        stack: str,
        directory: Path,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        require_inotify_instances(settings.size)
        if os.geteuid() != 0:
            pulumi.log.warn("infra:machines: lab: machines inside this computer need root: run it with sudo")
        super().__init__("mlplatform:infra:Lab", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        self.network = LabNetwork("lab-network", stack=stack, subnet=str(settings.subnet), opts=child)
        root = LabRoot("lab-root", child)
        key = SshKey("lab-key", child)
        self.machines = []
        for machine_name, role, position in machine_positions(settings):
            machine = LabMachine(
                machine_name,
                stack=stack,
                subnet=str(settings.subnet),
                address=str(settings.subnet[position]),
                root=root.path,
                authorized_key=key.public_key,
                folder=directory / "lab" / machine_name,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[self.network]),
            )
            self.machines.append(
                Machine(
                    name=machine_name,
                    role=role,
                    public_address=machine.address,
                    private_address=machine.address,
                    user=USER,
                    key=key.private_key,
                    host_key=machine.host_key,
                    resource=machine,
                )
            )
        self.register_outputs({})
