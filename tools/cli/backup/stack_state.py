"""Settings and Pulumi's state of a stack, read and written through the Pulumi CLI."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from settings.errors import SettingsError
from settings.loading import load_settings
from settings.stack import StackSettings
from tools.bootstrap.console import log_message
from tools.bootstrap.paths import PROJECT
from tools.cli.backup.errors import BackupError
from tools.cli.pulumi_command import Pulumi

NUMBER = re.compile(r"[+-]?\d+")
"""Texts that `pulumi config set --path` stores as numbers."""
TOKEN = ":ContainerToken"
"""End of the type of the resource that has the login to a container of the stack's data."""


def stack_settings(pulumi: Pulumi) -> StackSettings:
    """Return the settings of a stack, with those of `pulumi config set`.

    Raises:
        BackupError: a setting is wrong.
    """
    try:
        return load_settings(pulumi.name, config_values(pulumi))
    except SettingsError as error:
        raise BackupError(str(error)) from None


def config_values(pulumi: Pulumi) -> dict[str, str]:
    """Return the values of `pulumi config set`, with decrypted secrets; the text of an object is JSON."""
    return {name: value["value"] for name, value in pulumi_config(pulumi).items()}


def export_state(pulumi: Pulumi) -> dict[str, Any]:
    """Return Pulumi's state of a stack and the values of `pulumi config set`, both with decrypted secrets."""
    deployment = json.loads(pulumi.output("stack", "export", "--show-secrets"))
    return {"stack": pulumi.name, "deployment": deployment, "config": pulumi_config(pulumi)}


def import_state(pulumi: Pulumi, state: dict[str, Any]) -> None:
    """Give a stack the state and the values of `export_state`, encrypted with the passphrase of this computer.

    Raises:
        BackupError: the stack has resources already, the state is that of another stack, or the backend is a service.
    """
    if not pulumi.backend.uses_passphrase:
        raise BackupError("the backend of this computer keeps its own copies of states; import one with its means")
    if state["stack"] != pulumi.name:
        raise BackupError(f"the state is that of stack {state['stack']}; restore it as STACK={state['stack']}")
    if resources(export_state(pulumi)):
        raise BackupError(
            f"the stack {pulumi.stack} has resources in its backend, and a restore never replaces a state that is in "
            f"use. To replace it, remove it first: pulumi stack rm --force {pulumi.stack}"
        )
    _set_config(pulumi, state["config"])
    salt = _config_file(pulumi)["encryptionsalt"]
    state["deployment"]["deployment"]["secrets_providers"] = {"type": "passphrase", "state": {"salt": salt}}
    pulumi.output("stack", "import", stdin=json.dumps(state["deployment"]))


def write_config_copy(pulumi: Pulumi, file: Path, name: str, value: str) -> None:
    """Write the values of `pulumi config set` and one more value to a file, for the option `--config-file` of Pulumi.

    A command that is killed then leaves the stack's own values as they were.
    """
    content = _config_file(pulumi)
    content["config"] = {**content.get("config", {}), name: value}
    file.write_text(yaml.safe_dump(content))


def resources(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the resources of an exported state, without the stack itself and its providers."""
    found = state["deployment"]["deployment"].get("resources") or []
    return [each for each in found if not each["type"].startswith("pulumi:")]


def container_logins(state: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return `account_url`, `account_key` and `container` of the stack's data by team; "" is the shared container."""
    return {
        _team(resource): {
            name: str(plain_value(resource["inputs"][name])) for name in ("account_url", "account_key", "container")
        }
        for resource in resources(state)
        if resource["type"].endswith(TOKEN)
    }


def _team(resource: dict[str, Any]) -> str:
    """Return the team that a resource belongs to, "" for a shared one: its name begins with the team and a slash."""
    return str(resource["urn"]).rpartition("::")[2].rpartition("/")[0]


def _set_config(pulumi: Pulumi, config: dict[str, Any]) -> None:
    for name, value in config.items():
        if "objectValue" not in value:
            _set(pulumi, name, value["value"], "--secret" if value.get("secret") else "--plaintext")
            continue
        # An object that the stack has already would keep the members that the backup does not have.
        pulumi.output("config", "rm", name)
        for path, leaf in _leaves(name, value["objectValue"]):
            _set_leaf(pulumi, path, leaf, secret=bool(value.get("secret")))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each member at any depth that has no members."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            escaped = name.replace('"', '\\"')
            yield from _leaves(f'{path}["{escaped}"]', each)
    elif isinstance(value, list) and value:
        for number, each in enumerate(value):
            yield from _leaves(f"{path}[{number}]", each)
    else:
        yield path, value


def _set_leaf(pulumi: Pulumi, path: str, leaf: Any, *, secret: bool) -> None:
    """Set a member of an object with the type that it has.

    Pulumi decrypts each secret member to a text. Therefore a member of another type was no secret.
    """
    match leaf:
        case dict() | list():
            # `pulumi config set` writes no empty object or list. The removal of the only member leaves one.
            member = f"{path}[0]" if isinstance(leaf, list) else f'{path}["member"]'
            _set(pulumi, member, "", "--path", "--plaintext")
            pulumi.output("config", "rm", "--path", member)
        case str() if secret:
            _set(pulumi, path, leaf, "--path", "--secret")
        case str():
            typed = leaf in ("true", "false") or NUMBER.fullmatch(leaf)
            _set(pulumi, path, leaf, "--path", *(("--type", "string") if typed else ("--plaintext",)))
        case None:
            log_message(f"{path} is null in the backup, which `pulumi config set` cannot write: it is left out")
        case _:
            kind = "bool" if isinstance(leaf, bool) else "int" if isinstance(leaf, int) else "float"
            _set(pulumi, path, json.dumps(leaf), "--path", "--type", kind)


def _set(pulumi: Pulumi, path: str, text: str, *options: str) -> None:
    # Standard input keeps the value out of the list of processes. Pulumi removes one line end.
    pulumi.output("config", "set", *options, path, stdin=f"{text}\n")


def _config_file(pulumi: Pulumi) -> dict[str, Any]:
    """Return the content of the file of `pulumi config set`, with encrypted secrets and their salt."""
    file = PROJECT / ".stacks" / f"Pulumi.{pulumi.name}.yaml"
    content: dict[str, Any] = yaml.safe_load(file.read_text()) if file.exists() else {}
    return content


def pulumi_config(pulumi: Pulumi) -> dict[str, Any]:
    """Return the values of `pulumi config set` with decrypted secrets: `value` and `secret` of each name."""
    config: dict[str, Any] = json.loads(pulumi.output("config", "--json", "--show-secrets"))
    return config


def plain_value(value: Any) -> Any:
    """Return a value of an exported state, without the envelope of a secret."""
    return json.loads(value["plaintext"]) if isinstance(value, dict) and "plaintext" in value else value
