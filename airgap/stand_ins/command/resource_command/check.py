"""Inputs are checked against their fields; defaults and the marks of secret fields are added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .fields import Field
from .values import Asset, Properties, Secret, Unknown, Value, secret

_TYPES: dict[str, type] = {
    "string": str,
    "boolean": bool,
    "number": float,
    "integer": float,
    "array": list,
    "object": dict,
    "asset": Asset,
}
_NAMES = {str: "string", bool: "boolean", float: "number", list: "array", dict: "object", Asset: "asset"}


@dataclass(frozen=True)
class Failure:
    """What is wrong with the input `property`."""

    property: str
    reason: str


def check(fields: Mapping[str, Field], inputs: Properties, of: str) -> tuple[Properties, list[Failure]]:
    """The inputs of `of` (a type, for messages) with defaults and secrets, and every failure in them."""
    checked: Properties = {}
    failures = [Failure(name, f"Unrecognized field '{name}' on '{of}'") for name in inputs if name not in fields]
    for name, field in fields.items():
        if name in inputs:
            value, found = _check_value(field, inputs[name], name, of)
            checked[name] = secret(value) if field.secret else value
            failures += found
        elif field.required:
            failures.append(Failure(name, f"Missing required field '{name}' on '{of}'"))
        elif field.default is not None:
            checked[name] = field.default
    return checked, failures


def _check_value(field: Field, value: Value, name: str, of: str) -> tuple[Value, list[Failure]]:
    if isinstance(value, Secret):
        inner, failures = _check_value(field, value.value, name, of)
        return secret(inner), failures
    if isinstance(value, Unknown) or field.type == "any":
        return value, []
    if not isinstance(value, _TYPES[field.type]):
        found = _NAMES.get(type(value), "null")
        return value, [Failure(name, f"Field '{name}' on '{of}' must be of type {field.type}, not {found}")]
    if isinstance(value, dict) and field.fields:
        checked, inside = check(field.fields, value, f"{of}.{name}")
        return checked, [Failure(name, failure.reason) for failure in inside]
    if isinstance(value, dict):
        return value, _check_items(field, value.items(), name, of)
    if isinstance(value, list):
        return value, _check_items(field, enumerate(value), name, of)
    return value, []


def _check_items(field: Field, items: Iterable[tuple[object, Value]], name: str, of: str) -> list[Failure]:
    found = [_check_value(Field(field.items), item, f"{name}[{key}]", of)[1] for key, item in items]
    return [Failure(name, failure.reason) for failures in found for failure in failures]
