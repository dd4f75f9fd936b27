"""The stacks that there are: those with committed settings, and those that Pulumi keeps a file for."""

from __future__ import annotations

from tools.bootstrap.paths import PROJECT


class UnknownStack(Exception):
    """No stack has that name; the message lists those that there are."""


def names() -> list[str]:
    """The names of all stacks, sorted."""
    files = [*PROJECT.glob("Pulumi.*.yaml"), *PROJECT.glob(".stacks/Pulumi.*.yaml")]
    return sorted({file.name.removeprefix("Pulumi.").removesuffix(".yaml") for file in files})


def require(name: str) -> None:
    """Refuse a name that no stack has.

    Raises:
        UnknownStack: naming the stacks that there are.
    """
    if name not in names():
        raise UnknownStack(
            f"there is no stack {name!r}. The stacks are: {', '.join(names())}. A new one begins with a file "
            f"Pulumi.{name}.yaml; copy the one that is nearest to what you want"
        )
