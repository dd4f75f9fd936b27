"""Models that come from another stack, so that this one answers as that one does from the first request on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from mlplatform.platform import Platform
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed

ACCESS = "tracking_access"
"""The output (secret) of every stack that says how its MLflow is reached."""


class _ModelsFromProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("stack",)))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult(props["stack"], props | {"champions": _brought(props)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)


class ModelsFrom(Resource, module="workloads", name="ModelsFrom"):
    """The models of another stack that have a champion, with all their versions, in this stack's MLflow.

    They come once: what is registered there afterwards stays there. They stay here when this is deleted.

    Args:
        stack: the other one's whole name, `organization/project/name`.
        theirs: its output `tracking_access`, secret; None where it has none, as when it is down.
        tracking_url: of this stack's MLflow, which `access` gives this program the way to.

    Outputs:
        champions: the version by the model's name.

    Raises (as a failed resource):
        UserError: the other stack is not up, this one has versions of its own of a model, or a file is not what its
            hash says; what has come is not brought again by the next `up`.
    """

    champions: pulumi.Output[dict[str, str]]

    def __init__(
        self,
        name: str,
        *,
        stack: str,
        theirs: pulumi.Input[Mapping[str, str] | None],
        tracking_url: pulumi.Input[str],
        access: Mapping[str, pulumi.Input[str]],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "stack": stack,
            "theirs": theirs,
            "tracking_url": tracking_url,
            "access": dict(access),
            "champions": None,
        }
        super().__init__(_ModelsFromProvider(), name, props, opts)


def models_from(stack: str, platform: Platform) -> ModelsFrom:
    """The models of a stack in the same backend; a name without slashes is one of this project.

    Raises:
        RunError: it is this stack itself.
    """
    project = f"{pulumi.get_organization()}/{pulumi.get_project()}"
    whole = stack if "/" in stack else f"{project}/{stack}"
    if whole == f"{project}/{pulumi.get_stack()}":
        raise pulumi.RunError(
            f"workloads:models_from: {stack} is this stack itself; name the one that it takes over from"
        )
    return ModelsFrom(
        "models-from",
        stack=whole,
        theirs=pulumi.StackReference(whole).get_output(ACCESS),
        tracking_url=platform.tracking_url,
        access=platform.tracking.access,
        opts=pulumi.ResourceOptions(depends_on=platform.tracking.resources),
    )


def _brought(props: dict[str, Any]) -> dict[str, str]:
    from mlflow.exceptions import MlflowException

    from workloads.model_transfer.transfer import Server, transfer

    stack, theirs = props["stack"], props["theirs"]
    if not theirs:
        raise UserError(
            f"workloads:models_from: the stack {stack} has no output {ACCESS}: bring it up by this version of the "
            "program, and take it down when its models are here"
        )
    try:
        return transfer(
            Server(stack, theirs["url"], theirs), Server("this stack", props["tracking_url"], props["access"])
        )
    except MlflowException as error:
        raise UserError(f"workloads:models_from: models of {stack} could not be brought: {error.message}") from None
