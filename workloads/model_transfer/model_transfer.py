"""Pulumi resource for models from another stack: this stack serves them from its first request on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from mlplatform.platform import Platform
from mlplatform.tracking_access import TrackingAccess, parse_tracking_access
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from workloads.mlflow_session import import_mlflow

ACCESS = "tracking_access"
"""Output (secret) of every stack with the access to its MLflow server."""


class _ModelsFromProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("stack",)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["stack"], props | {"champions": _transfer(props)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)


class ModelsFrom(Resource, module="workloads", name="ModelsFrom"):
    """Models of another stack that have a champion, copied to this stack's MLflow with all their versions.

    They are copied once: versions that the other stack registers later stay there. Copied models survive the deletion
    of this resource.

    Args:
        stack: the full name of the other stack, `organization/project/name`.
        source: the output `tracking_access` of the other stack, secret; None if the stack is down.
        access: access to this stack's MLflow server.

    Outputs:
        champions: the champion's version by the name of its model.

    Raises (as a failed resource):
        UserError: the other stack is down, a model here has other versions, or a file does not match its hash. The
            next `up` continues after the last copied version.
    """

    champions: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        stack: str,
        source: pulumi.Input[Mapping[str, str] | None],
        access: TrackingAccess[pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"stack": stack, "source": source, "access": access.inputs(), "champions": None}
        super().__init__(_ModelsFromProvider(), name, props, opts)


def models_from(stack: str, platform: Platform) -> ModelsFrom:
    """Copy the models of a stack in the same backend; a name without slashes is a stack of this project.

    Raises:
        RunError: `stack` is this stack.
    """
    project = f"{pulumi.get_organization()}/{pulumi.get_project()}"
    full_name = stack if "/" in stack else f"{project}/{stack}"
    if full_name == f"{project}/{pulumi.get_stack()}":
        raise pulumi.RunError(
            f"workloads:models_from: {stack} is this stack itself; name the stack whose models to take over"
        )
    return ModelsFrom(
        "models-from",
        stack=full_name,
        source=pulumi.StackReference(full_name).get_output(ACCESS),
        access=platform.tracking.access,
        opts=pulumi.ResourceOptions(depends_on=platform.tracking.resources),
    )


def _transfer(props: dict[str, Any]) -> dict[str, str]:
    import_mlflow()
    from mlflow.exceptions import MlflowException

    from workloads.model_transfer.transfer import Server, transfer

    stack = props["stack"]
    source_access = props.get("source")  # Pulumi leaves out what is None
    if not source_access:
        raise UserError(
            f"workloads:models_from: the stack {stack} has no output {ACCESS}; run `up` for it with this version of "
            "the program, and destroy it after its models are copied"
        )
    source = Server(stack, parse_tracking_access(source_access))
    target = Server("this stack", parse_tracking_access(props["access"]))
    try:
        return transfer(source, target)
    except MlflowException as error:
        raise UserError(f"workloads:models_from: copying the models of {stack} failed: {error.message}") from None
