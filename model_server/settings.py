"""Settings of the model server, read from environment variables that begin with MODEL_SERVER_.

`ServerSettings` is the only declaration: a field `max_rows` is the variable MODEL_SERVER_MAX_ROWS.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    ValidationError,
    model_validator,
)

from model_server.redaction import redact

PREFIX = "MODEL_SERVER_"
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
NAME = "letters, digits, '.', '_' and '-', at most 100, beginning with a letter or digit"
Names = Annotated[tuple[Name, ...], BeforeValidator(lambda text: text.split(","))]


class ServerSettingsError(Exception):
    """Invalid settings; the message has one line for each error."""


class ServerSettings(BaseModel):
    """Source of the models, address and limits of the server; a description says which values are allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path | None = Field(None, description="a folder with model.onnx and signature.json")
    registry: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = Field(
        None, description="the http:// or https:// URL of an MLflow server"
    )
    model: Name | None = Field(None, description=NAME)
    models: Names = Field((), description=f"different names, separated by commas; of each: {NAME}")
    version: Name | None = Field(None, description=NAME)
    alias: Name | None = Field(None, description=NAME)
    champion_directory: Path | None = Field(None, description="a folder with the champion's two files, for a canary")
    champion_version: Name | None = Field(None, description=NAME)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="64 lower-case hexadecimal digits")
    cache: Path | None = Field(None, description="a folder, created if it does not exist")
    host: IPvAnyAddress = Field(IPv4Address("127.0.0.1"), description="an IP address of this machine")
    port: int = Field(5005, ge=1, le=65535, description="an integer from 1 to 65535")
    health_port: int | None = Field(None, ge=1, le=65535, description="an integer from 1 to 65535 that is not the port")
    grpc_port: int | None = Field(
        None, ge=1, le=65535, description="an integer from 1 to 65535 that is neither the port nor the health port"
    )
    workers: int = Field(2, ge=1, le=64, description="an integer from 1 to 64")
    check_seconds: float = Field(60, ge=1, le=3600, description="a number from 1 to 3600")
    check_memory_bytes: int = Field(
        1 << 30, ge=1 << 20, le=1 << 40, description="an integer from 1048576 to 1099511627776"
    )
    poll_seconds: float = Field(5, ge=0.1, le=3600, description="a number from 0.1 to 3600")
    max_body_bytes: int = Field(1 << 20, ge=1024, le=1 << 30, description="an integer from 1024 to 1073741824")
    max_bodies: int = Field(128, ge=1, le=1000, description="an integer from 1 to 1000")
    body_seconds: float = Field(30, ge=1, le=3600, description="a number from 1 to 3600")
    max_rows: int = Field(10_000, ge=1, le=10_000_000, description="an integer from 1 to 10000000")

    @model_validator(mode="after")
    def _consistent(self) -> ServerSettings:
        ports = {name: port for name in ("port", "health_port", "grpc_port") if (port := getattr(self, name))}
        for first, second in combinations(ports, 2):
            if ports[first] == ports[second]:
                raise ValueError(f"{variable(second)} and {variable(first)} are both {ports[first]}: change one")
        if self.models:
            if self.model:
                raise ValueError(f"{variable('model')} does not go with {variable('models')}: unset one of them")
            if not self.alias:
                raise ValueError(f"{variable('alias')} is needed with {variable('models')}")
            if len(set(self.models)) < len(self.models):
                raise ValueError(f"{variable('models')} has a name twice: {','.join(self.models)}")
        if (self.champion_directory is None) != (self.champion_version is None):
            raise ValueError(f"{variable('champion_directory')} and {variable('champion_version')} belong together")
        if self.directory:
            for name in ("registry", "alias"):
                if getattr(self, name):
                    raise ValueError(f"{variable(name)} does not go with {variable('directory')}: unset one of them")
            if not self.directory.is_dir():
                raise ValueError(f"{variable('directory')}={str(self.directory)!r} is not a folder")
        elif self.version or self.alias:
            if self.version and self.alias:
                raise ValueError(f"{variable('version')} pins and {variable('alias')} follows: unset one of them")
            for name in ("registry", *(() if self.models else ("model",)), "cache"):
                if not getattr(self, name):
                    raise ValueError(f"{variable(name)} is needed with {variable('version')} or {variable('alias')}")
        if self.sha256 and not (self.directory or self.version):
            raise ValueError(
                f"{variable('sha256')} belongs to one version: set {variable('version')} or {variable('directory')} too"
            )
        return self

    def of_each_model(self) -> list[ServerSettings]:
        """Return the settings of each model; a server of one model has one set, which may lack a name."""
        return [self.model_copy(update={"model": name, "models": ()}) for name in self.models] or [self]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ServerSettings:
        """Return the settings in `environment`; an empty variable counts as unset.

        Raises:
            ServerSettingsError: a variable is unknown, has an invalid value, or contradicts another one.
        """
        values = {
            key.removeprefix(PREFIX).lower(): value
            for key, value in environment.items()
            if key.startswith(PREFIX) and value
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise ServerSettingsError("\n".join(_describe(fault) for fault in error.errors())) from None


def variable(name: str) -> str:
    """Return the environment variable of a field of `ServerSettings`."""
    return PREFIX + name.upper()


def to_environment(values: Mapping[str, object]) -> dict[str, str]:
    """Return the environment variables of values by field name; a None is left out."""
    return {variable(name): str(value) for name, value in values.items() if value is not None}


def _describe(fault: Any) -> str:
    if not fault["loc"]:
        return str(fault["msg"]).removeprefix("Value error, ")
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        allowed = ", ".join(map(variable, ServerSettings.model_fields))
        return f"{variable(name)} is not a setting; the settings are {allowed}"
    # A URL may contain a password.
    value = redact(str(fault["input"]))
    return f"{variable(name)}={value!r} cannot be used; allowed is {ServerSettings.model_fields[name].description}"
