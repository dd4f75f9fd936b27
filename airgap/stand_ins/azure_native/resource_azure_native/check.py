"""Validation of inputs against the types of the SDK."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from airgap.stand_ins.azure_native.resource_azure_native.azure_values import UNCHECKED
from airgap.stand_ins.azure_native.resource_azure_native.sdk import Input, alternatives, inputs
from airgap.stand_ins.protocol.requests import InputFault

_NAMES: dict[type, str] = {str: "a string", bool: "true or false", int: "a whole number", float: "a number"}


def check_inputs(expected: Mapping[str, Input], values: Mapping[str, Any], path: str = "") -> list[InputFault]:
    """Return all faults of the inputs `values` at the property path `path`; an unknown value has none."""
    prefix = f"{path}." if path else ""
    faults = [
        InputFault(
            f"{prefix}{name}", f"{_owner(path)} has no input of this name; it has: {', '.join(sorted(expected))}"
        )
        for name in values
        if name not in expected
    ]
    for name, expected_input in expected.items():
        if values.get(name) is not None:
            faults += _check(expected_input.type, values[name], f"{prefix}{name}")
        elif expected_input.required:
            faults.append(InputFault(f"{prefix}{name}", "is required"))
    return faults


def _check(hint: Any, value: Any, path: str) -> list[InputFault]:
    if value is None or value is UNCHECKED:
        return []
    faults_by_type = [_check_type(kind, value, path) for kind in alternatives(hint)]
    if [] in faults_by_type:
        return []
    # Report the type that fits best: its faults have the longest paths.
    return max(faults_by_type, key=lambda faults: max(len(fault.path) for fault in faults))


def _check_type(kind: Any, value: Any, path: str) -> list[InputFault]:
    origin = typing.get_origin(kind)
    if kind is Any:
        return []
    if origin in (list, Sequence):
        if not isinstance(value, list):
            return [InputFault(path, f"has to be a list, not {_describe(value)}")]
        (item,) = typing.get_args(kind)
        return [fault for index, each in enumerate(value) for fault in _check(item, each, f"{path}[{index}]")]
    if origin in (dict, Mapping):
        if not isinstance(value, dict):
            return [InputFault(path, f"has to be a mapping, not {_describe(value)}")]
        item = typing.get_args(kind)[1]
        return [fault for key, each in value.items() for fault in _check(item, each, f"{path}.{key}")]
    if isinstance(kind, type) and issubclass(kind, Enum):
        members = [member.value for member in kind]
        return (
            []
            if value in members
            else [InputFault(path, f"has to be one of {', '.join(members)}, not {_describe(value)}")]
        )
    if kind in _NAMES:
        return [] if _matches(kind, value) else [InputFault(path, f"has to be {_NAMES[kind]}, not {_describe(value)}")]
    if hasattr(kind, "_pulumi_input_type"):
        if not isinstance(value, dict):
            return [InputFault(path, f"has to be {kind.__name__}, not {_describe(value)}")]
        return check_inputs(inputs(kind), value, path)
    return [InputFault(path, f"has to be {kind.__name__}, not {_describe(value)}")]


def _matches(kind: type, value: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, int | float) and float(value).is_integer()
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _owner(path: str) -> str:
    return f"`{path}`" if path else "the resource"


def _describe(value: Any) -> str:
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else repr(value)
