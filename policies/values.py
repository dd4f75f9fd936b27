"""Properties of a resource as plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pulumi_policy import (
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

Rule = Callable[[str, Mapping[str, Any]], Iterator[str]]
"""What is wrong with a resource of a type with these properties, one message a fault."""


class Unknown:
    """A value that a preview cannot know. No rule finds fault with it: `up` checks it again."""


UNKNOWN = Unknown()


def policy(name: str, description: str, rule: Rule) -> ResourceValidationPolicy:
    """A policy that reports all that the rule finds. Its name is what tells it in previews."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for message in rule(args.resource_type, plain(args.props)):
            report(message, None)

    return ResourceValidationPolicy(name, description, validate)


def plain(value: Any) -> Any:
    """The value without the wrapping that raises an error at what is not known; that is `UNKNOWN` instead."""
    if isinstance(value, Mapping):
        return {key: plain(_item(value, key)) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(_item(value, index)) for index in range(len(value))]
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is a mapping; an empty one if it is not there or not known."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> list[Any]:
    """The value if it is a list, likewise."""
    return value if isinstance(value, list) else []


def _item(container: Any, key: Any) -> Any:
    try:
        return container[key]
    except UnknownValueError:
        return UNKNOWN
