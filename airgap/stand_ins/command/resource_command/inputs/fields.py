"""The inputs and outputs of each resource type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Field:
    """An input or an output.

    `type` is a type of JSON schema, "asset" (an asset or an archive) or "any". A change of an input that `replaces`
    replaces the resource.
    """

    type: str
    required: bool = False
    secret: bool = False
    replaces: bool = False
    default: str | float | None = None
    items: str = ""
    """Type of the items of an array ("string", "any"), or of the values of an object without `fields`."""
    fields: Mapping[str, Field] = field(default_factory=dict)


_STRING = Field("string")
_BOOLEAN = Field("boolean")
_STRINGS = Field("array", items="string")
_ENVIRONMENT = Field("object", items="string")

_HOST = {
    "host": Field("string", required=True),
    "port": Field("number", default=22),
    "user": Field("string", default="root"),
    "password": Field("string", secret=True),
    "privateKey": Field("string", secret=True),
    "privateKeyPassword": Field("string", secret=True),
    "agentSocketPath": _STRING,
    "hostKey": _STRING,
    "dialErrorLimit": Field("integer", default=10),
    "perDialTimeout": Field("integer", default=15),
}
_CONNECTION = Field("object", required=True, secret=True, fields=_HOST | {"proxy": Field("object", fields=_HOST)})

_TRIGGERS = Field("array", items="any", replaces=True)
_COMMAND = {
    "create": _STRING,
    "update": _STRING,
    "delete": _STRING,
    "triggers": _TRIGGERS,
    "stdin": _STRING,
    "environment": _ENVIRONMENT,
    "logging": _STRING,
    "addPreviousOutputInEnv": _BOOLEAN,
}
_LOCAL = {"interpreter": _STRINGS, "dir": _STRING, "assetPaths": _STRINGS, "archivePaths": _STRINGS}

LOCAL_COMMAND = _COMMAND | _LOCAL
REMOTE_COMMAND = _COMMAND | {"connection": _CONNECTION}
COPY_TO_REMOTE = {
    "connection": _CONNECTION,
    "source": Field("asset", required=True),
    "remotePath": Field("string", required=True),
    "triggers": _TRIGGERS,
}
COPY_FILE = {
    "connection": _CONNECTION,
    "localPath": Field("string", required=True),
    "remotePath": Field("string", required=True),
    "triggers": Field("array", items="any"),
}
LOCAL_RUN = _LOCAL | {
    "command": Field("string", required=True),
    "stdin": _STRING,
    "environment": _ENVIRONMENT,
    "logging": _STRING,
    "addPreviousOutputInEnv": _BOOLEAN,
}

REMOTE_OUTPUTS = {"stdout": Field("string", required=True), "stderr": Field("string", required=True)}
LOCAL_OUTPUTS = REMOTE_OUTPUTS | {"assets": Field("object", items="asset"), "archive": Field("asset")}
