"""A documented behaviour that local and remote commands share."""

from __future__ import annotations

from dataclasses import dataclass, field

from airgap.stand_ins.protocol.property_values import Properties


@dataclass
class Case:
    """The inputs of a new resource (or of one with `state`), and the expected results."""

    behaviour: str
    inputs: Properties
    stdout: str = ""
    stderr: str = ""
    state: Properties | None = None
    logged: list[str] | None = None
    outputs: Properties = field(default_factory=dict)
