"""Settings of `infra:lab`, and the positions of the lab's addresses in its subnet."""

from __future__ import annotations

import ipaddress
from typing import Literal

from pydantic import Field, model_validator

from settings.machines.control_planes import ControlPlanes
from settings.types import Section, Subnet

Role = Literal["control-plane", "worker"]
BRIDGE = 1
"""Position of the address of this computer."""
FIRST_MACHINE = 11
"""Position of the first control plane's address; workers follow it."""
OTHER_CONTROL_PLANES = 6
"""Position of the second control plane's address; others follow it."""
VIRTUAL_ADDRESS = 10
"""Position of the API server's address, with several control planes."""


class LabSettings(Section):
    """Machines inside this computer: control planes and workers."""

    size: int = Field(default=3, ge=1, le=10)
    """Number of machines. Without workers, the control planes run pods, too."""
    control_planes: ControlPlanes = 1
    """Number of control planes among the machines: 1, 3 or 5. The others are workers."""
    subnet: Subnet = ipaddress.IPv4Network("10.20.0.0/24")
    """Subnet of the bridge that connects the machines. This computer gets its first address."""

    @model_validator(mode="after")
    def _check_size(self) -> LabSettings:
        if self.control_planes > self.size:
            raise ValueError(f"size: {self.size} is less than control_planes; set {self.control_planes} or more")
        return self


def machine_positions(settings: LabSettings) -> list[tuple[str, Role, int]]:
    """Return name, role and position of each machine. They do not depend on the number of the others."""
    others: list[tuple[str, Role, int]] = [
        (f"control-plane-{index + 1}", "control-plane", OTHER_CONTROL_PLANES + index - 1)
        for index in range(1, settings.control_planes)
    ]
    workers: list[tuple[str, Role, int]] = [
        (f"worker-{index}", "worker", FIRST_MACHINE + index)
        for index in range(1, settings.size - settings.control_planes + 1)
    ]
    return [("control-plane", "control-plane", FIRST_MACHINE), *others, *workers]
