"""The package's schema, for tools that list a provider's types. Programs get theirs from the SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from airgap.stand_ins.command.resource_command.inputs.fields import LOCAL_OUTPUTS, LOCAL_RUN, Field
from airgap.stand_ins.command.resource_command.resource_types import LOCAL_RUN_TOKEN, RESOURCES

VERSION = "1.2.1"

_REFERENCES = {"any": "pulumi.json#/Any", "asset": "pulumi.json#/Asset"}


def schema() -> str:
    """Return the schema as JSON."""
    types: dict[str, Any] = {}
    resources = {}
    for token, resource in RESOURCES.items():
        inputs = _properties(resource.fields, types)
        resources[token] = {
            "inputProperties": inputs,
            "requiredInputs": _required(resource.fields),
            "properties": inputs | _properties(resource.outputs, types),
            "required": _required(resource.fields) + _required(resource.outputs),
        }
    arguments, results = LOCAL_RUN, LOCAL_RUN | LOCAL_OUTPUTS
    functions = {LOCAL_RUN_TOKEN: {"inputs": _object(arguments, types), "outputs": _object(results, types)}}
    package = {"name": "command", "version": VERSION, "types": types, "resources": resources, "functions": functions}
    return json.dumps(package)


def _object(fields: Mapping[str, Field], types: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": _properties(fields, types), "required": _required(fields)}


def _properties(fields: Mapping[str, Field], types: dict[str, Any]) -> dict[str, Any]:
    return {name: _property(name, field, types) for name, field in fields.items()}


def _required(fields: Mapping[str, Field]) -> list[str]:
    return [name for name, field in fields.items() if field.required]


def _property(name: str, field: Field, types: dict[str, Any]) -> dict[str, Any]:
    described = _type(field.type)
    if field.fields:
        token = "command:remote:" + {"proxy": "ProxyConnection"}.get(name, name.capitalize())
        types[token] = _object(field.fields, types)
        described = {"$ref": f"#/types/{token}"}
    elif field.items:
        described["items" if field.type == "array" else "additionalProperties"] = _type(field.items)
    if field.default is not None:
        described["default"] = field.default
    if field.secret:
        described["secret"] = True
    if field.replaces:
        described["replaceOnChanges"] = True
    return described


def _type(name: str) -> dict[str, Any]:
    return {"$ref": _REFERENCES[name]} if name in _REFERENCES else {"type": name}
