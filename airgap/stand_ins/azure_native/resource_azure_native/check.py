"""Inputs as the engine sends them against the types of the SDK."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from .sdk import Input, alternatives, inputs
from .values import UNCHECKED

_NAMES: dict[type, str] = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Failure:
    """What is wrong at `path`."""

    path: str
    reason: str


def check(expected: Mapping[str, Input], given: Mapping[str, Any], path: str = "") -> list[Failure]:
    """Every fault in the inputs `given`, which lie at `path`. A value that is not known yet has none."""
    prefix = f"{path}." if path else ""
    failures = [
        Failure(f"{prefix}{name}", f"{_owner(path)} has no input of this name; it has: {', '.join(sorted(expected))}")
        for name in given
        if name not in expected
    ]
    for name, one in expected.items():
        if given.get(name) is not None:
            failures += _check(one.type, given[name], f"{prefix}{name}")
        elif one.required:
            failures.append(Failure(f"{prefix}{name}", "is required"))
    return failures


def _check(hint: Any, value: Any, path: str) -> list[Failure]:
    if value is None or value is UNCHECKED:
        return []
    found = [_check_one(kind, value, path) for kind in alternatives(hint)]
    if [] in found:
        return []
    # Of several, the one that the value is nearest to says the most: its faults lie the deepest.
    return max(found, key=lambda failures: max(len(failure.path) for failure in failures))


def _check_one(kind: Any, value: Any, path: str) -> list[Failure]:
    origin = typing.get_origin(kind)
    if kind is Any:
        return []
    if origin in (list, Sequence):
        if not isinstance(value, list):
            return [Failure(path, f"has to be a list, not {_shown(value)}")]
        (item,) = typing.get_args(kind)
        return [failure for index, each in enumerate(value) for failure in _check(item, each, f"{path}[{index}]")]
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return [Failure(path, f"has to be a mapping, not {_shown(value)}")]
        item = typing.get_args(kind)[1]
        return [failure for key, each in value.items() for failure in _check(item, each, f"{path}.{key}")]
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = [member.value for member in kind]
        return (
            [] if value in members else [Failure(path, f"has to be one of {', '.join(members)}, not {_shown(value)}")]
        )
    if kind in _NAMES:
        return [] if _is(kind, value) else [Failure(path, f"has to be {_NAMES[kind]}, not {_shown(value)}")]
    if hasattr(kind, "_pulumi_input_type"):
        if not isinstance(value, dict):
            return [Failure(path, f"has to be {kind.__name__}, not {_shown(value)}")]
        return check(inputs(kind), value, path)
    return [Failure(path, f"has to be {kind.__name__}, not {_shown(value)}")]


def _is(kind: type, value: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int | float) and float(value).is_integer()
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _owner(path: str) -> str:
    return f"`{path}`" if path else "the resource"


def _shown(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
