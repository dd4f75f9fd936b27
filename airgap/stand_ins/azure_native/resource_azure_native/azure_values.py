"""Property values of the engine as plain JSON values, for validation."""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2

from airgap.stand_ins.protocol.property_values import OUTPUT, SECRET, SIGNATURE, UNKNOWN_STRING, UNKNOWN_STRINGS


class Unchecked:
    """An unknown value, an asset or an archive."""


UNCHECKED = Unchecked()


def decode_inputs(properties: struct_pb2.Struct) -> dict[str, Any]:
    """Return the properties of a request, without the engine's own and without null ones."""
    return {
        key: _decode(value)
        for key, value in properties.fields.items()
        if not key.startswith("__") and value.WhichOneof("kind") != "null_value"
    }


def unknown(names: frozenset[str]) -> struct_pb2.Struct:
    """Return properties with these names and unknown values."""
    return struct_pb2.Struct(fields={name: struct_pb2.Value(string_value=UNKNOWN_STRING) for name in names})


def _decode(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _decode_struct(value.struct_value)
        case "list_value":
            return [_decode(item) for item in value.list_value.values]
        case "string_value":
            return UNCHECKED if value.string_value in UNKNOWN_STRINGS else value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    signature = struct.fields[SIGNATURE].string_value if SIGNATURE in struct.fields else ""
    if not signature:
        return decode_inputs(struct)
    if signature in (SECRET, OUTPUT) and "value" in struct.fields:
        return _decode(struct.fields["value"])
    return UNCHECKED
