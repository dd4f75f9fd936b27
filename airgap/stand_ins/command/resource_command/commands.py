"""The resources that run commands: which command when, and what they share in running it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .check import Failure
from .fields import Field
from .operation import Operation
from .values import Properties, Secret, Value, reveal

STDOUT = "PULUMI_COMMAND_STDOUT"
STDERR = "PULUMI_COMMAND_STDERR"


@dataclass(frozen=True)
class Job:
    """A command and the inputs it runs with. `shown` is the command as an error may show it."""

    command: str
    shown: str
    inputs: Mapping[str, Any]
    previous: Mapping[str, Any]
    """Outputs of the last command of this resource, if any."""

    def previous_output(self) -> dict[str, str]:
        """The environment variables that tell the last command's output."""
        if not self.inputs.get("addPreviousOutputInEnv", True):
            return {}
        output = {STDOUT: self.previous.get("stdout", ""), STDERR: self.previous.get("stderr", "")}
        return {name: text for name, text in output.items() if text}


def job(command: Value, inputs: Mapping[str, Value], previous: Mapping[str, Value]) -> Job:
    """The job that runs `command`."""
    shown = "[secret]" if isinstance(command, Secret) else json.dumps(reveal(command), ensure_ascii=False)
    return Job(reveal(command), shown, reveal(dict(inputs)), reveal(dict(previous)))


class CommandResource:
    """A resource whose life is a create, an update and a delete command; `run` runs one and returns its outputs."""

    def __init__(
        self, fields: Mapping[str, Field], outputs: Mapping[str, Field], run: Callable[[Job, Operation], Properties]
    ) -> None:
        self.fields = fields
        self.outputs = outputs
        self._run = run

    def check(self, inputs: Properties) -> list[Failure]:
        return []

    def identify(self, name: str, preview: bool) -> str:
        return name + secrets.token_hex(4)

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        if "create" not in inputs:
            return {"stdout": "", "stderr": ""}
        return self._run(job(inputs["create"], inputs, {}), operation)

    def update(self, state: Properties, inputs: Properties, operation: Operation) -> Properties:
        command = inputs.get("update", inputs.get("create"))
        return {} if command is None else self._run(job(command, inputs, state), operation)

    def delete(self, state: Properties, operation: Operation) -> None:
        if "delete" in state:
            self._run(job(state["delete"], state, state), operation)
