"""The resource types of the provider, by their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from . import local, remote
from .check import Failure
from .commands import CommandResource
from .copies import CopyFile, CopyToRemote
from .fields import LOCAL_COMMAND, LOCAL_OUTPUTS, REMOTE_COMMAND, REMOTE_OUTPUTS, Field
from .operation import Operation
from .values import Properties


class Resource(Protocol):
    """A type of resource. Its outputs are its inputs and what `create` and `update` return.

    `create`, `update` and `delete` raise Failed with what the user is to read.
    """

    @property
    def fields(self) -> Mapping[str, Field]:
        """Its inputs."""

    @property
    def outputs(self) -> Mapping[str, Field]:
        """Outputs that are no inputs."""

    def check(self, inputs: Properties) -> list[Failure]:
        """Failures that the fields do not tell."""

    def identify(self, name: str, preview: bool) -> str:
        """A new id, empty where a preview cannot know it."""

    def create(self, inputs: Properties, operation: Operation) -> Properties: ...

    def delete(self, state: Properties, operation: Operation) -> None: ...


@runtime_checkable
class Updatable(Resource, Protocol):
    """A type that can be updated; of any other, each change replaces the resource."""

    def update(self, state: Properties, inputs: Properties, operation: Operation) -> Properties: ...


RESOURCES: Mapping[str, Resource] = {
    "command:local:Command": CommandResource(LOCAL_COMMAND, LOCAL_OUTPUTS, local.run),
    "command:remote:Command": CommandResource(REMOTE_COMMAND, REMOTE_OUTPUTS, remote.run),
    "command:remote:CopyToRemote": CopyToRemote(),
    "command:remote:CopyFile": CopyFile(),
}
LOCAL_RUN_TOKEN = "command:local:run"
