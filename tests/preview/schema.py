"""Faults of Kubernetes manifests: unknown fields, values of a wrong type, missing required fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
from mlplatform.addons.vendored_manifests import read_manifests

SCHEMA = json.loads(Path(__file__).with_name("kubernetes-schema.json").read_text())


def faults(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield the faults of a manifest; each names the object and the path of the field in it."""
    kind = f"{manifest['apiVersion']}/{manifest['kind']}"
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    for error in _validator(kind).iter_errors(manifest):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path)
        yield f"{name}: {path.removeprefix('.') or 'the object'}: {error.message}"


@cache
def _validator(kind: str) -> Any:
    if kind in SCHEMA["kinds"]:
        schema = {"$ref": SCHEMA["kinds"][kind], "definitions": SCHEMA["definitions"]}
    else:
        schema = _custom_resources()[kind]
    return jsonschema_rs.validator_for(schema)


@cache
def _custom_resources() -> dict[str, Any]:
    """Return the schemas of the vendored CustomResourceDefinitions by `apiVersion/kind`."""
    definitions = [each for (kind, _), each in read_manifests("metallb").items() if kind == "CustomResourceDefinition"]
    return {
        f"{each['spec']['group']}/{version['name']}/{each['spec']['names']['kind']}": _closed(
            version["schema"]["openAPIV3Schema"]
        )
        for each in definitions
        for version in each["spec"]["versions"]
    }


def _closed(schema: Any) -> Any:
    """Return a schema of a CustomResourceDefinition that allows no unknown fields."""
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items() if key not in ("description", "properties")}
    if "properties" in schema:
        closed["properties"] = {key: _closed(value) for key, value in schema["properties"].items()}
        closed.setdefault("additionalProperties", False)
    if schema == {"type": "object"}:  # `metadata`
        return {"$comment": "any object"}
    return closed
