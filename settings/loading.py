"""Read, merge and validate the settings of a stack."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from settings.paths import PROJECT
from settings.stack import Settings
from settings.types import SettingsError

OF_PULUMI = frozenset({"pulumi", "kubernetes", "command", "azure-native"})
"""Namespaces that Pulumi and its providers read themselves."""
SECRETS = frozenset(
    {"account_key", "alerts_url", "database_url", "kubeconfig", "password", "private_key", "secret_key"}
)
"""Names of settings whose values no message repeats."""


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
    found = "" if isinstance(fault["input"], dict) or SECRETS & set(path) else f" (found: {fault['input']!r})"
    return f"{setting}: {message}{found}"
