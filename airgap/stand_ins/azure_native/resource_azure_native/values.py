"""Property values of the engine, as far as they can be checked: what JSON can say, without the marks of secrets.

The wire format marks secrets, unknowns, assets and archives by a signature in a struct or by a sentinel string
(Pulumi's `provider.proto`).
"""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS = {
    UNKNOWN,
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
    "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
    "e48ece36-62e2-4504-bad9-02848725956a",  # archive
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
}


class Unchecked:
    """A value that is not known yet, or an asset or archive."""


UNCHECKED = Unchecked()


def decode(properties: struct_pb2.Struct) -> dict[str, Any]:
    """The properties of a request without the engine's own and those that are null."""
    return {
        key: _decode(value)
        for key, value in properties.fields.items()
        if not key.startswith("__") and value.WhichOneof("kind") != "null_value"
    }


def unknown(names: frozenset[str]) -> struct_pb2.Struct:
    """Properties of these names whose values are not known yet."""
    return struct_pb2.Struct(fields={name: struct_pb2.Value(string_value=UNKNOWN) for name in names})


def _decode(value: struct_pb2.Value) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _decode_struct(value.struct_value)
        case "list_value":
            return [_decode(item) for item in value.list_value.values]
        case "string_value":
            return UNCHECKED if value.string_value in _UNKNOWNS else value.string_value
        case "number_value":
            return value.number_value
        case "bool_value":
            return value.bool_value
    return None


def _decode_struct(struct: struct_pb2.Struct) -> Any:
    signature = struct.fields[_SIGNATURE].string_value if _SIGNATURE in struct.fields else ""
    if not signature:
        return decode(struct)
    if signature in (_SECRET, _OUTPUT) and "value" in struct.fields:
        return _decode(struct.fields["value"])
    return UNCHECKED
