"""Stacks of this checkout: those with committed settings, and those that Pulumi has written a file for."""

from __future__ import annotations

from tools.bootstrap.paths import PROJECT


class UnknownStack(Exception):
    """A name without a stack, with a message that lists the existing ones."""


def stack_names() -> list[str]:
    """Return the names of all stacks, sorted."""
    files = [*PROJECT.glob("Pulumi.*.yaml"), *PROJECT.glob(".stacks/Pulumi.*.yaml")]
    return sorted({file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files})


def require_stack(name: str) -> None:
    """Check that a stack of this name exists.

    Args:
        name: the name, also with organization and project, as in `organization/project/dev`.

    Raises:
        UnknownStack: There is no such stack.
    """
    name = name.rpartition("/")[2]
    if name not in stack_names():
        raise UnknownStack(
            f"there is no stack {name!r}. The stacks are: {', '.join(stack_names())}. To create one, copy the settings "
            f"file that is closest to your case to Pulumi.{name}.yaml"
        )
