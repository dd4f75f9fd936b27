"""One documented behaviour, as local and remote commands share it."""

from __future__ import annotations

from dataclasses import dataclass, field

from airgap.stand_ins.command.resource_command.values import Properties


@dataclass
class Case:
    """`inputs` of a new resource, or of one that has `state`; and what is to come of them."""

    behaviour: str
    inputs: Properties
    stdout: str = ""
    stderr: str = ""
    state: Properties | None = None
    logged: list[str] | None = None
    outputs: Properties = field(default_factory=dict)
