"""A self-contained kubeconfig: its context is selected and its files are embedded."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from settings.errors import SettingsError
from settings.infra import ExistingClusterSettings


def kubeconfig(settings: ExistingClusterSettings) -> str:
    """Return the kubeconfig of the settings.

    Raises:
        SettingsError: it is invalid, lacks the context, or names a file that cannot be read.
    """
    file = Path(settings.kubeconfig_file).expanduser() if settings.kubeconfig_file else None
    setting = "infra:existing.kubeconfig_file" if file else "infra:existing.kubeconfig"
    text = file.read_text() if file else settings.kubeconfig.get_secret_value() if settings.kubeconfig else ""
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError:
        config = None  # the error would quote secrets of the file
    if not isinstance(config, dict) or not config.get("clusters"):
        raise SettingsError(f"{setting}: this is no kubeconfig: it has no clusters")
    contexts = [context["name"] for context in config.get("contexts") or []]
    chosen = settings.context or config.get("current-context")
    if chosen not in contexts:
        raise SettingsError(
            f"infra:existing.context: the kubeconfig has no context {chosen!r}; it has: {', '.join(contexts) or 'none'}"
        )
    config["current-context"] = chosen
    clusters = [entry["cluster"] for entry in config["clusters"]]
    users = [entry["user"] for entry in config.get("users") or []]
    for section in [*clusters, *users]:
        _embed_files(section, file.parent if file else Path.cwd(), setting)
    return yaml.safe_dump(config, sort_keys=False)


def _embed_files(section: dict[str, Any], folder: Path, setting: str) -> None:
    """Replace the file names of a cluster or a user by the files' content."""
    for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
        if path := section.pop(key, None):
            try:
                content = (folder / path).read_bytes()
            except OSError as error:
                raise SettingsError(f"{setting}: its {key} cannot be read: {path}: {error.strerror}") from None
            if key == "tokenFile":
                section["token"] = content.decode().strip()
            else:
                section[f"{key}-data"] = base64.b64encode(content).decode()
