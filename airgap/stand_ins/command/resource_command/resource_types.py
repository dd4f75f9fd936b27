"""The provider's resource types by token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from airgap.stand_ins.command.resource_command.command_resource import CommandResource
from airgap.stand_ins.command.resource_command.inputs.fields import (
    LOCAL_COMMAND,
    LOCAL_OUTPUTS,
    REMOTE_COMMAND,
    REMOTE_OUTPUTS,
    Field,
)
from airgap.stand_ins.command.resource_command.local import local_command as local_command
from airgap.stand_ins.command.resource_command.operation import Operation
from airgap.stand_ins.command.resource_command.remote import remote_command as remote_command
from airgap.stand_ins.command.resource_command.remote.copies import CopyFile, CopyToRemote
from airgap.stand_ins.protocol.property_values import Properties
from airgap.stand_ins.protocol.requests import InputFault


class ResourceType(Protocol):
    """A resource type. A resource's outputs are its inputs and the results of `create` and `update`.

    `create`, `update` and `delete` raise OperationFailed with a message for the user.
    """

    @property
    def fields(self) -> Mapping[str, Field]:
        """The inputs."""

    @property
    def outputs(self) -> Mapping[str, Field]:
        """The outputs that are not inputs."""

    def check(self, inputs: Properties) -> list[InputFault]:
        """Return the faults that the fields do not describe."""

    def identify(self, name: str, preview: bool) -> str:
        """Return a new id; empty in a preview that cannot predict it."""

    def create(self, inputs: Properties, operation: Operation) -> Properties:
        """Create the resource and return its outputs."""

    def delete(self, state: Properties, operation: Operation) -> None:
        """Delete the resource."""


@runtime_checkable
class Updatable(ResourceType, Protocol):
    """A resource type with updates; for other types, every change replaces the resource."""

    def update(self, state: Properties, inputs: Properties, operation: Operation) -> Properties:
        """Update the resource and return its changed outputs."""


RESOURCES: Mapping[str, ResourceType] = {
    "command:local:Command": CommandResource(LOCAL_COMMAND, LOCAL_OUTPUTS, local_command.run_local_command),
    "command:remote:Command": CommandResource(REMOTE_COMMAND, REMOTE_OUTPUTS, remote_command.run_remote_command),
    "command:remote:CopyToRemote": CopyToRemote(),
    "command:remote:CopyFile": CopyFile(),
}
LOCAL_RUN_TOKEN = "command:local:run"
