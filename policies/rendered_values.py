"""Policies from rules on plain property values."""

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
"""Yields one message for each violation, given the type of a resource and its properties."""


class UnknownValue:
    """A value that is unknown in a preview; no rule reports it, because `up` checks the resource again."""


UNKNOWN = UnknownValue()


def policy(name: str, description: str, rule: Rule) -> ResourceValidationPolicy:
    """Return a policy that reports every violation of the rule; previews show its name."""

    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        for message in rule(args.resource_type, unwrap(args.props)):
            report(message, None)

    return ResourceValidationPolicy(name, description, validate)


def unwrap(value: Any) -> Any:
    """Return the value without the proxies of the SDK, which raise an error on access to an unknown value.

    Unknown values become `UNKNOWN`.
    """
    if isinstance(value, Mapping):
        return {key: unwrap(_item(value, key)) for key in value}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [unwrap(_item(value, index)) for index in range(len(value))]
    return value


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping, else an empty one: the value is missing or unknown."""
    return value if isinstance(value, Mapping) else {}


def as_list(value: Any) -> list[Any]:
    """Return the value if it is a list, else an empty one: the value is missing or unknown."""
    return value if isinstance(value, list) else []


def _item(container: Any, key: Any) -> Any:
    try:
        return container[key]
    except UnknownValueError:
        return UNKNOWN
