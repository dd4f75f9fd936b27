"""The network of a lab as a resource."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, changed
from infra.lab.bridge import Bridge
from infra.lab.requirements import require_root, require_root_and_tools


class _LabNetworkProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        replaces = changed(_olds, _news, ("stack", "subnet"))
        return DiffResult(changes=bool(replaces), replaces=replaces, delete_before_replace=True)

    def create(self, props: dict[str, Any]) -> CreateResult:
        require_root_and_tools()
        _bridge(props).create()
        return CreateResult(props["subnet"], props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Keep the network: every change replaces it."""
        return UpdateResult(_news)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_, props) if _bridge(props).exists() else ReadResult("", {})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        require_root()
        _bridge(_props).delete()


class LabNetwork(Resource, module="infra", name="LabNetwork"):
    """A bridge on which this computer has the first address of `subnet`.

    Raises (as a failed resource):
        UserError: this process is not root on Linux, or the subnet is in use.
    """

    subnet: pulumi.Output[str]

    def __init__(self, name: str, *, stack: str, subnet: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(_LabNetworkProvider(), name, {"stack": stack, "subnet": subnet}, opts)


def _bridge(props: dict[str, Any]) -> Bridge:
    return Bridge(props["stack"], props["subnet"])
