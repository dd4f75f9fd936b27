"""The server's settings, read from environment variables that begin with MODEL_SERVER_."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyAddress,
    StringConstraints,
    ValidationError,
    model_validator,
)

PREFIX = "MODEL_SERVER_"
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
NAME = "letters, digits, '.', '_' and '-', at most 100, beginning with a letter or digit"


class SettingsError(Exception):
    """Settings that cannot be used; the message has one line for each fault."""


class Settings(BaseModel):
    """Where the model comes from, where the server listens, its limits. Descriptions say what is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: Path | None = Field(None, description="a folder with model.onnx and signature.json")
    registry: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")] | None = Field(
        None, description="the http:// or https:// URL of an MLflow server"
    )
    model: Name | None = Field(None, description=NAME)
    version: Name | None = Field(None, description=NAME)
    alias: Name | None = Field(None, description=NAME)
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="64 lower-case hexadecimal digits")
    cache: Path | None = Field(None, description="a folder, made where it does not exist")
    host: IPvAnyAddress = Field(IPv4Address("127.0.0.1"), description="an IP address of this machine")
    port: int = Field(5005, ge=1, le=65535, description="an integer from 1 to 65535")
    workers: int = Field(2, ge=1, le=64, description="an integer from 1 to 64")
    poll_seconds: float = Field(5, ge=0.1, le=3600, description="a number from 0.1 to 3600")
    max_body_bytes: int = Field(1 << 20, ge=1024, le=1 << 30, description="an integer from 1024 to 1073741824")
    max_rows: int = Field(10_000, ge=1, le=10_000_000, description="an integer from 1 to 10000000")

    @model_validator(mode="after")
    def _one_source(self) -> Settings:
        if self.directory:
            for name in ("registry", "alias"):
                if getattr(self, name):
                    raise ValueError(f"{PREFIX}{name.upper()} does not go with {PREFIX}DIRECTORY: unset one of them")
            if not self.directory.is_dir():
                raise ValueError(f"{PREFIX}DIRECTORY={str(self.directory)!r} is not a folder")
        elif self.version or self.alias:
            if self.version and self.alias:
                raise ValueError(f"{PREFIX}VERSION pins and {PREFIX}ALIAS follows: unset one of them")
            for name in ("registry", "model", "cache"):
                if not getattr(self, name):
                    raise ValueError(f"{PREFIX}{name.upper()} is needed with {PREFIX}VERSION or {PREFIX}ALIAS")
        if self.sha256 and not (self.directory or self.version):
            raise ValueError(f"{PREFIX}SHA256 is for one version: set {PREFIX}VERSION or {PREFIX}DIRECTORY too")
        return self

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """The settings in `environment`; an empty variable counts as unset.

        Raises:
            SettingsError: a variable is not a setting, has a value not allowed, or does not fit the others.
        """
        values = {
            key.removeprefix(PREFIX).lower(): value
            for key, value in environment.items()
            if key.startswith(PREFIX) and value
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("\n".join(_described(fault) for fault in error.errors())) from None


def _described(fault: Any) -> str:
    if not fault["loc"]:
        return str(fault["msg"]).removeprefix("Value error, ")
    name = str(fault["loc"][0])
    if fault["type"] == "extra_forbidden":
        allowed = ", ".join(PREFIX + field.upper() for field in Settings.model_fields)
        return f"{PREFIX}{name.upper()} is not a setting; there are {allowed}"
    # A URL may carry a password.
    found = re.sub(r"//[^/@]*@", "//***@", str(fault["input"]))
    return f"{PREFIX}{name.upper()}={found!r} cannot be used; allowed is {Settings.model_fields[name].description}"
