"""Read, merge and validate the settings of a stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from settings.errors import SettingsError
from settings.paths import PROJECT
from settings.stack import StackSettings
from settings.types import Section

PULUMI_NAMESPACES = frozenset({"pulumi", "kubernetes", "command", "azure-native"})
"""Configuration namespaces that Pulumi and its providers read themselves."""
CREDENTIALS = re.compile(r"//[^/\s]*@")
"""User and password of an address."""


def load_settings(stack: str, overrides: Mapping[str, str], folder: Path = PROJECT) -> StackSettings:
    """Return the settings of `stack`: `Pulumi.<stack>.yaml` in `folder`, merged with `overrides` key by key.

    Args:
        stack: name of the stack; a stack without a file has the defaults.
        overrides: Pulumi's configuration, `namespace:key` to text. The text of an object or a list is JSON.
        folder: folder with the committed stack files.

    Raises:
        SettingsError: a setting is unknown, missing or has a value that is not allowed; lists all faults.
    """
    try:
        return StackSettings.model_validate(_sections(stack, overrides, folder))
    except ValidationError as error:
        raise SettingsError(f"the settings of stack {stack} cannot be used:\n{_describe_all(error)}") from None


def check_section(section: type[Section], setting: str, stack: str, overrides: Mapping[str, str], more: Any) -> None:
    """Check that a setting such as `platform:door` stays valid if `more` is added; check no other setting.

    Raises:
        SettingsError: a member is unknown, missing or has a value that is not allowed; lists all faults.
    """
    namespace, _, name = setting.partition(":")
    present = _sections(stack, overrides, PROJECT).get(namespace, {}).get(name)
    try:
        section.model_validate(_merge(present, more))
    except ValidationError as error:
        raise SettingsError(f"stack {stack}:\n{_describe_all(error, namespace, name)}") from None


def _sections(stack: str, overrides: Mapping[str, str], folder: Path) -> dict[str, dict[str, Any]]:
    file = folder / f"Pulumi.{stack}.yaml"
    values: dict[str, dict[str, Any]] = {}
    for key, value in merged_settings(_committed(file), overrides).items():
        namespace, _, name = key.partition(":")
        if not name:
            raise SettingsError(f"{file.name}: {key} is not a setting: write namespace:name, as in serving:port")
        if namespace not in PULUMI_NAMESPACES:
            values.setdefault(namespace, {})[name] = value
    return values


def merged_settings(committed: Mapping[str, Any], overrides: Mapping[str, str]) -> dict[str, Any]:
    """Return settings by `namespace:name`, without validation.

    Args:
        committed: the mapping `config` of a stack file.
        overrides: Pulumi's configuration, as in `load_settings`.
    """
    merged = dict(committed)
    for key, value in overrides.items():
        merged[key] = _merge(merged.get(key), _parse_override(value))
    return merged


def _committed(file: Path) -> dict[str, Any]:
    """Return the mapping `config` of a stack file, {} if the file does not exist."""
    return parse_stack_file(file.name, file.read_bytes()) if file.is_file() else {}


def parse_stack_file(name: str, text: str | bytes) -> dict[str, Any]:
    """Return the mapping `config` in the text of a stack file.

    Raises:
        SettingsError: the text is no stack file; `name` is in the message.
    """
    content = parse_yaml(name, text)
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(f"{name}: expected a mapping named config, as in any Pulumi stack file")
    return config


def parse_yaml(name: str, text: str | bytes) -> Any:
    """Return the content of the YAML in a file, None for an empty one.

    Raises:
        SettingsError: the text is not YAML; `name` and the place are in the message.
    """
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"see line {mark.line + 1}, column {mark.column + 1}" if mark else "a character is not allowed"
        raise SettingsError(f"{name} is not YAML: {place}") from None


def _parse_override(value: str) -> Any:
    """Return the object or list of a JSON text, and other texts unchanged; the schema converts those."""
    if isinstance(value, str) and value[:1] in "{[":
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _merge(base: Any, override: Any) -> Any:
    if isinstance(base, dict) and isinstance(override, dict):
        return {key: _merge(base.get(key), override[key]) if key in override else base[key] for key in base | override}
    return override


def _describe_all(error: ValidationError, *path: str) -> str:
    """Return one line for each fault of a value, which is at `path` of the settings."""
    return "\n".join(f"  {_describe(fault, (*path, *fault['loc']))}" for fault in error.errors())


def _describe(fault: Any, location: tuple[int | str, ...]) -> str:
    """Return one line for a fault of pydantic: the setting as written in the stack file, the fault, the value found."""
    match fault:
        case {"type": "model_type"}:
            message = "write a mapping of settings"
        case {"type": "too_short", "ctx": {"field_type": "Value", "min_length": least, "actual_length": found}}:
            message = f"write at least {least} characters, not {found}"  # of a secret
        case _:
            message = str(fault["msg"]).removeprefix("Value error, ")
    if not location:
        return message
    # A setting with several forms adds the form in angle brackets to the path.
    namespace, *path = (str(part) for part in location if not str(part).startswith("<"))
    setting = f"{namespace}:{'.'.join(path)}" if path else namespace
    if fault["type"] == "extra_forbidden":
        return f"{setting} is not a setting (see docs/settings.md)"
    return f"{setting}: {message}{_found(namespace, path, fault['input'])}"


def _found(namespace: str, path: Sequence[str], value: Any) -> str:
    """Return the value for a message, "" for a section, and for what may have a secret.

    A wrong section is a text or a list with all of its fields. If the setting has secrets, only values of plain fields
    are repeated.
    """
    if isinstance(value, dict):
        return ""
    setting = _forms_at(namespace, *path[:1])
    plain = not isinstance(value, list) and all(_is_plain(form) for form in _forms_at(namespace, *path))
    if not plain and any(_has_secret(form) for form in setting):
        return ""
    return f" (found: {CREDENTIALS.sub('//***@', repr(value))})"


@cache
def _schema() -> dict[str, Any]:
    return StackSettings.model_json_schema()


def _forms_at(*path: str) -> list[dict[str, Any]]:
    """Return the schemas that the value at a path may have. A part that is no member, such as `[key]`, is ignored."""
    forms = _forms(_schema())
    for part in path:
        members = [member for form in forms if (member := _member(form, part))]
        forms = [form for member in members for form in _forms(member)] or forms
    return forms


def _forms(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the alternatives of a schema, without references."""
    if "$ref" in schema:
        return _forms(_schema()["$defs"][schema["$ref"].rpartition("/")[2]])
    if several := schema.get("anyOf") or schema.get("oneOf"):
        return [form for each in several for form in _forms(each)]
    return [schema]


def _member(form: dict[str, Any], name: str) -> Any:
    """Return the schema of a field, of an entry of a mapping, or of an item of a list."""
    return form.get("properties", {}).get(name) or next(_entries(form), None)


def _entries(form: dict[str, Any]) -> Iterator[Any]:
    yield from form.get("patternProperties", {}).values()
    yield from (each for each in (form.get("additionalProperties"), form.get("items")) if isinstance(each, dict))


def _is_plain(form: dict[str, Any]) -> bool:
    return form.get("type") not in ("object", "array") and not form.get("writeOnly")


def _has_secret(form: dict[str, Any]) -> bool:
    """Return True if a value of the schema is a secret, or has one at any depth."""
    members = [*form.get("properties", {}).values(), *_entries(form)]
    return bool(form.get("writeOnly")) or any(_has_secret(each) for member in members for each in _forms(member))
