"""Property values of the engine: JSON values, secrets, unknowns, assets and archives.

The wire format marks the latter four with a signature in a struct or with a sentinel string (`provider.proto`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf import struct_pb2

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"

UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_STRINGS = {
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # bool
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
    UNKNOWN_STRING,
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # array
    "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
    "e48ece36-62e2-4504-bad9-02848725956a",  # archive
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
}


@dataclass(frozen=True)
class Unknown:
    """A value that is unknown until its resource exists."""


UNKNOWN = Unknown()


@dataclass(frozen=True)
class Secret:
    """A value that the engine encrypts. A secret and a plain value are never equal: a change of secrecy is a change."""

    value: Value


@dataclass(frozen=True, eq=False)
class Asset:
    """An asset or an archive (`signature`): `path`, `text`, `uri` or `assets`, and the `hash` of its content."""

    signature: str
    fields: Mapping[str, Value]

    def __eq__(self, other: object) -> bool:
        """Compare by hash: the engine omits the content of an old asset."""
        if not isinstance(other, Asset) or self.signature != other.signature:
            return False
        if self.hash and other.hash:
            return self.hash == other.hash
        return self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.signature)

    @property
    def hash(self) -> str:
        """The hash of the content; empty where the engine sent none."""
        return str(self.fields.get("hash") or "")

    @property
    def path(self) -> str:
        """The local path; empty without one."""
        return str(self.fields.get("path") or "")

    @property
    def text(self) -> str:
        """The text; empty without one."""
        return str(self.fields.get("text") or "")


Value: TypeAlias = "bool | float | str | list[Value] | dict[str, Value] | Unknown | Secret | Asset | None"
Properties: TypeAlias = dict[str, Value]


def secret(value: Value) -> Secret:
    """Return `value` as a secret; a secret is returned unchanged."""
    return value if isinstance(value, Secret) else Secret(value)


def is_unknown(value: Value) -> bool:
    """Return True if the value is unknown, also inside a secret."""
    return isinstance(value.value if isinstance(value, Secret) else value, Unknown)


def reveal(value: Value) -> Any:
    """Return `value` with every secret replaced by its plain value, at any depth."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def decode(properties: struct_pb2.Struct) -> Properties:
    """Return the properties of a request, without null ones (as the official provider does)."""
    return {key: _decode(value) for key, value in properties.fields.items() if value.WhichOneof("kind") != "null_value"}


def encode(properties: Mapping[str, Value]) -> struct_pb2.Struct:
    """Return the properties of a response."""
    return struct_pb2.Struct(fields={key: _encode(value) for key, value in properties.items()})


def _decode(value: struct_pb2.Value) -> Value:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _decode_struct(value.struct_value)
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "string_value":
        return UNKNOWN if value.string_value in UNKNOWN_STRINGS else str(value.string_value)
    if kind == "number_value":
        return float(value.number_value)
    return bool(value.bool_value) if kind == "bool_value" else None


def _decode_struct(struct: struct_pb2.Struct) -> Value:
    signature = struct.fields[SIGNATURE].string_value if SIGNATURE in struct.fields else ""
    if signature == SECRET:
        return secret(_decode(struct.fields["value"]))
    if signature == OUTPUT:
        value = _decode(struct.fields["value"]) if "value" in struct.fields else UNKNOWN
        return secret(value) if "secret" in struct.fields and struct.fields["secret"].bool_value else value
    if signature in (ASSET, ARCHIVE):
        return Asset(signature, {key: _decode(item) for key, item in struct.fields.items() if key != SIGNATURE})
    return decode(struct)


def _encode(value: Value) -> struct_pb2.Value:
    if isinstance(value, Unknown):
        return struct_pb2.Value(string_value=UNKNOWN_STRING)
    if isinstance(value, Secret):
        return struct_pb2.Value(struct_value=encode({SIGNATURE: SECRET, "value": value.value}))
    if isinstance(value, Asset):
        return struct_pb2.Value(struct_value=encode({SIGNATURE: value.signature, **value.fields}))
    if isinstance(value, dict):
        return struct_pb2.Value(struct_value=encode(value))
    if isinstance(value, list):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_encode(item) for item in value]))
    if isinstance(value, bool):  # before numbers: a bool is also an int
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    return struct_pb2.Value(number_value=value)
