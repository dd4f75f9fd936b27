"""Settings of a stack as its files have them, without Pulumi: fast, and without any passphrase."""

from __future__ import annotations

from typing import Any

from settings.loading import parse_yaml
from tools.bootstrap.paths import PROJECT


def written_setting(stack: str, key: str) -> Any:
    """Return the value of a setting such as `infra:cluster`: that of `pulumi config set`, else the committed one.

    Returns:
        None if neither file has the setting.

    Raises:
        SettingsError: a file is not YAML.
    """
    name = stack.rpartition("/")[2]  # without organization and project
    for folder in (PROJECT / ".stacks", PROJECT):
        file = folder / f"Pulumi.{name}.yaml"
        content = parse_yaml(str(file.relative_to(PROJECT)), file.read_bytes()) if file.is_file() else None
        config = content.get("config") if isinstance(content, dict) else None
        if isinstance(config, dict) and key in config:
            return config[key]
    return None
