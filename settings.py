"""Every setting of a stack: one schema, typed and validated, for all stacks.

The committed settings of a stack are `Pulumi.<stack>.yaml`; what `pulumi config set` writes (into the ignored
folder `.stacks`) is laid over them, key by key. A setting that is wrong ends the program with a message that
names the setting, what it was and what is allowed, before any resource is touched.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pulumi
import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    model_validator,
)

PROJECT = Path(__file__).resolve().parent
OF_PULUMI = frozenset({"pulumi", "kubernetes", "command", "azure-native"})
"""Namespaces that Pulumi and its providers read themselves."""
Port = Annotated[int, Field(ge=1024, le=65535)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$")]
Parameter = bool | int | float | str | list[Any] | dict[str, Any]


class SettingsError(pulumi.RunError):
    """Settings that cannot be used; the message has one line for each fault."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Infra(_Section):
    """Where the machines and the cluster come from."""

    machines: Literal["none", "lab", "hosts", "azure"] = "none"
    cluster: Literal["none", "kubeadm", "existing"] = "none"


class Tracking(_Section):
    """The MLflow server. With `retain`, `destroy` leaves its runs and models for the next `up`."""

    port: Port = 5050
    retain: bool = True


class Blobs(_Section):
    """Azure Blob Storage that pipelines read: your account, or without one the Azurite emulator on `port`."""

    port: Port = 10000
    account_url: str | None = Field(default=None, pattern=r"^https?://")
    account_key: SecretStr | None = None
    container: Name = "datasets"
    upload: dict[str, str] = {}
    """Blob name -> file of this project that is uploaded to it."""

    @model_validator(mode="after")
    def _key_belongs_to_an_account(self) -> Blobs:
        if (self.account_url is None) != (self.account_key is None):
            raise ValueError("account_url and account_key belong together: set both, or neither for the emulator")
        for blob, file in self.upload.items():
            if not (PROJECT / file).is_file():
                raise ValueError(f"upload.{blob}: there is no file {file} in the project")
        return self


class Platform(_Section):
    """What runs beneath the workloads."""

    pipelines: Literal["embedded", "job", "kubeflow"] = "embedded"
    tracking: Tracking = Tracking()
    blobs: Blobs | None = None


class Serving(_Section):
    """The model server; the ports of further served models are set at their pipelines."""

    port: Port = 5005
    follow: bool = False
    """Swap to a new champion as soon as it has the alias, instead of at the next `pulumi up`."""
    workers: int = Field(default=2, ge=1, le=64)
    max_body_bytes: int = Field(default=1 << 20, ge=1024, le=1 << 30)
    max_rows: int = Field(default=10_000, ge=1, le=10_000_000)


class Pipeline(_Section):
    """One pipeline of `workloads/pipelines/`, by the name of its file with dashes."""

    parameters: dict[str, Parameter] = {}
    model: Name | None = None
    """The registered model's name that it trains; the pipeline's own name where unset."""
    gate: float | None = None
    """Reaches the pipeline as its parameter `baseline`."""
    serve: bool = False
    port: Port | None = None
    """Where its model is served; `serving:port` where unset."""
    version: int | None = Field(default=None, ge=1)
    """Serve this registered version instead of the newest that passed the gate: a rollback."""
    uses_model: Name | None = None
    """The served model whose champion it works with, as its parameters `model_name` and `model_version`."""
    data_version: str = ""
    """Change it to run again on data whose change cannot be seen from here (a remote URL)."""

    @model_validator(mode="after")
    def _serving_settings_need_serve(self) -> Pipeline:
        if not self.serve and (self.version is not None or self.port is not None):
            raise ValueError("version and port are for a pipeline with serve: true")
        return self


class Workloads(_Section):
    """What the data scientists own."""

    pipelines: dict[Name, Pipeline] = {}


class Settings(_Section):
    """All settings of one stack, by namespace."""

    infra: Infra = Infra()
    platform: Platform = Platform()
    serving: Serving = Serving()
    workloads: Workloads = Workloads()

    @model_validator(mode="after")
    def _pipelines_fit_together(self) -> Settings:
        ports: dict[int, str] = {self.platform.tracking.port: "platform:tracking.port"}
        blobs = self.platform.blobs
        if blobs and blobs.account_url is None:
            _claim(ports, blobs.port, "platform:blobs.port")
        models: dict[str, str] = {}
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.serve:
                setting = f"workloads:pipelines.{name}.port" if pipeline.port else "serving:port"
                _claim(ports, pipeline.port or self.serving.port, setting)
                model = pipeline.model or name
                if model in models:
                    raise ValueError(
                        f"workloads:pipelines.{name}: the model {model} is already served for {models[model]}"
                    )
                models[model] = name
        for name, pipeline in self.workloads.pipelines.items():
            if pipeline.uses_model and pipeline.uses_model not in models:
                raise ValueError(
                    f"workloads:pipelines.{name}.uses_model: no pipeline with serve: true has the model "
                    f"{pipeline.uses_model}; there are: {', '.join(sorted(models)) or 'none'}"
                )
        return self

    @model_validator(mode="after")
    def _what_is_there(self) -> Settings:
        wanted = {
            "infra:machines": (self.infra.machines, "none"),
            "infra:cluster": (self.infra.cluster, "none"),
            "platform:pipelines": (self.platform.pipelines, "embedded"),
        }
        missing = [f"{key}: {value}" for key, (value, there) in wanted.items() if value != there]
        if missing:
            allowed = ", ".join(f"{key}: {there}" for key, (_, there) in wanted.items())
            raise ValueError(
                f"not there yet: {', '.join(missing)}. This version runs on one computer ({allowed}); "
                "machines, clusters and Kubeflow Pipelines are still to come"
            )
        return self


def load(stack: str, overrides: Mapping[str, str], folder: Path = PROJECT) -> Settings:
    """The settings of `stack`: `Pulumi.<stack>.yaml` in `folder` with `overrides` laid over it.

    `overrides` is Pulumi's configuration: `namespace:key` to text, JSON where the value is an object or a list.

    Raises:
        SettingsError: something is not a setting, has a value that is not allowed, or is not there yet.
    """
    file = folder / f"Pulumi.{stack}.yaml"
    committed = _read(file)
    values: dict[str, Any] = {}
    for key, value in [*committed.items(), *((k, _parsed(v)) for k, v in overrides.items())]:
        namespace, _, name = key.partition(":")
        if not name:
            raise SettingsError(f"{file.name}: {key} is not a setting: write namespace:name, as in serving:port")
        if namespace not in OF_PULUMI:
            section = values.setdefault(namespace, {})
            section[name] = _merged(section.get(name), value)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        lines = "\n".join(f"  {_described(fault)}" for fault in error.errors())
        raise SettingsError(f"the settings of stack {stack} cannot be used:\n{lines}") from None


def cache_directory() -> Path:
    """The folder of everything that is installed or written by this project."""
    if own := os.environ.get("MLPLATFORM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlplatform"


def _claim(ports: dict[int, str], port: int, setting: str) -> None:
    if port in ports:
        raise ValueError(f"{setting}: port {port} is already taken by {ports[port]}; give one of them another port")
    ports[port] = setting


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise SettingsError(f"{file.name} is not YAML: {error}") from None
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(f"{file.name}: expected a mapping named config, as in any Pulumi stack file")
    return config


def _parsed(value: str) -> Any:
    """Pulumi hands objects and lists over as JSON, all else as text (which the schema's types convert)."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _merged(base: Any, over: Any) -> Any:
    if isinstance(base, dict) and isinstance(over, dict):
        return {key: _merged(base.get(key), over[key]) if key in over else base[key] for key in base | over}
    return over


def _described(fault: Any) -> str:
    """One line for one fault: the setting as it is written in the stack's file, the complaint, what was found."""
    message = str(fault["msg"]).removeprefix("Value error, ")
    if not fault["loc"]:
        return message
    namespace, *path = (str(part) for part in fault["loc"])
    setting = f"{namespace}:{'.'.join(path)}" if path else namespace
    if fault["type"] == "extra_forbidden":
        return f"{setting} is not a setting (see docs/settings.md)"
    found = "" if isinstance(fault["input"], dict) or "account_key" in path else f" (found: {fault['input']!r})"
    return f"{setting}: {message}{found}"
