"""Validation of inputs against their fields; adds defaults and marks secret fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from airgap.stand_ins.command.resource_command.inputs.fields import Field
from airgap.stand_ins.protocol.property_values import Asset, Properties, Secret, Unknown, Value, secret
from airgap.stand_ins.protocol.requests import InputFault

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


def validate(fields: Mapping[str, Field], inputs: Properties, owner: str) -> tuple[Properties, list[InputFault]]:
    """Return the inputs with defaults and secrets, and all faults.

    Args:
        fields: the fields by name.
        inputs: the values by name.
        owner: the type that has the fields, for messages.
    """
    checked: Properties = {}
    faults = [InputFault(name, f"Unrecognized field '{name}' on '{owner}'") for name in inputs if name not in fields]
    for name, field in fields.items():
        if name in inputs:
            value, value_faults = _check_value(field, inputs[name], name, owner)
            checked[name] = secret(value) if field.secret else value
            faults += value_faults
        elif field.required:
            faults.append(InputFault(name, f"Missing required field '{name}' on '{owner}'"))
        elif field.default is not None:
            checked[name] = field.default
    return checked, faults


def _check_value(field: Field, value: Value, name: str, owner: str) -> tuple[Value, list[InputFault]]:
    if isinstance(value, Secret):
        inner, faults = _check_value(field, value.value, name, owner)
        return secret(inner), faults
    if isinstance(value, Unknown) or field.type == "any":
        return value, []
    if not isinstance(value, _TYPES[field.type]):
        type_name = _NAMES.get(type(value), "null")
        return value, [InputFault(name, f"Field '{name}' on '{owner}' must be of type {field.type}, not {type_name}")]
    if isinstance(value, dict) and field.fields:
        checked, nested = validate(field.fields, value, f"{owner}.{name}")
        return checked, [InputFault(name, fault.reason) for fault in nested]
    if isinstance(value, dict):
        return value, _check_items(field, value.items(), name, owner)
    if isinstance(value, list):
        return value, _check_items(field, enumerate(value), name, owner)
    return value, []


def _check_items(field: Field, items: Iterable[tuple[object, Value]], name: str, owner: str) -> list[InputFault]:
    item_faults = [_check_value(Field(field.items), item, f"{name}[{key}]", owner)[1] for key, item in items]
    return [InputFault(name, fault.reason) for faults in item_faults for fault in faults]
