"""A kubeconfig that works wherever it is taken: its context chosen, the files that it names within it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from settings.infra import ExistingClusterSettings
from settings.types import SettingsError


def kubeconfig(settings: ExistingClusterSettings) -> str:
    """The kubeconfig of the settings.

    Raises:
        SettingsError: it is none, it lacks the context, or a file that it names is not there.
    """
    file = Path(settings.kubeconfig_file).expanduser() if settings.kubeconfig_file else None
    setting = "infra:existing.kubeconfig_file" if file else "infra:existing.kubeconfig"
    text = file.read_text() if file else settings.kubeconfig.get_secret_value() if settings.kubeconfig else ""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = None  # what is wrong with it would quote from it
    if not isinstance(config, dict) or not config.get("clusters"):
        raise SettingsError(f"{setting}: this is no kubeconfig: it has no clusters")
    contexts = [context["name"] for context in config.get("contexts") or []]
    chosen = settings.context or config.get("current-context")
    if chosen not in contexts:
        raise SettingsError(
            f"infra:existing.context: the kubeconfig has no context {chosen!r}; it has: {', '.join(contexts) or 'none'}"
        )
    config["current-context"] = chosen
    for named in [*(one["cluster"] for one in config["clusters"]), *(one["user"] for one in config.get("users") or [])]:
        _take_in_files(named, file.parent if file else Path.cwd(), setting)
    return yaml.safe_dump(config, sort_keys=False)


def _take_in_files(named: dict[str, Any], folder: Path, setting: str) -> None:
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if path := named.pop(key, None):
            try:
                content = (folder / path).read_bytes()
            except OSError as error:
                raise SettingsError(f"{setting}: its {key} cannot be read: {path}: {error.strerror}") from None
            if key == "tokenFile":
                named["token"] = content.decode().strip()
            else:
                named[f"{key}-data"] = base64.b64encode(content).decode()
