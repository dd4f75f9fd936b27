"""Resources that run a command when they are created, updated or deleted."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airgap.stand_ins.command.resource_command.inputs.fields import Field
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.protocol.property_values import Properties, Secret, Value, reveal
from airgap.stand_ins.protocol.requests import InputFault

STDOUT = "PULUMI_COMMAND_STDOUT"
STDERR = "PULUMI_COMMAND_STDERR"


@dataclass(frozen=True)
class Invocation:
    """A command and its inputs. `quoted` is the command as error messages quote it."""

    command: str
    quoted: str
    inputs: Mapping[str, Any]
    previous: Mapping[str, Any]
    """Outputs of the resource's previous command; empty for the first one."""

    def previous_output(self) -> dict[str, str]:
        """Return the environment variables with the previous command's output."""
        if not self.inputs.get("addPreviousOutputInEnv", True):
            return {}
        output = {STDOUT: self.previous.get("stdout", ""), STDERR: self.previous.get("stderr", "")}
        return {name: text for name, text in output.items() if text}


def invocation(command: Value, inputs: Mapping[str, Value], previous: Mapping[str, Value]) -> Invocation:
    """Return the invocation of `command`; a secret command is not quoted in errors."""
    quoted = "[secret]" if isinstance(command, Secret) else json.dumps(reveal(command), ensure_ascii=False)
    return Invocation(reveal(command), quoted, reveal(dict(inputs)), reveal(dict(previous)))


class CommandResource:
    """A resource with a create, an update and a delete command; `run` runs one and returns its outputs."""

    def __init__(
        self,
        fields: Mapping[str, Field],
        outputs: Mapping[str, Field],
        run: Callable[[Invocation, Operation], Properties],
    ) -> None:
        self.fields = fields
        self.outputs = outputs
        self._run = run

    def check(self, inputs: Properties) -> list[InputFault]:
        """Return no faults: the fields describe all rules."""
        return []

    def identify(self, name: str, preview: bool) -> str:
        """Return the resource's name with a random suffix."""
        return name + secrets.token_hex(4)

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        """Run the create command; without one the output is empty."""
        if "create" not in inputs:
            return {"stdout": "", "stderr": ""}
        return self._run(invocation(inputs["create"], inputs, {}), operation)

    def update(self, state: Properties, inputs: Properties, operation: Operation) -> Properties:
        """Run the update command, or the create command where there is no update command."""
        command = inputs.get("update", inputs.get("create"))
        return {} if command is None else self._run(invocation(command, inputs, state), operation)

    def delete(self, state: Properties, operation: Operation) -> None:
        """Run the delete command, if there is one."""
        if "delete" in state:
            self._run(invocation(state["delete"], state, state), operation)
