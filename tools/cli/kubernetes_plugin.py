"""Check for Pulumi's Kubernetes plugin, which every stack with a cluster needs."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

from airgap.bundle.index import INDEX
from tools.bootstrap.paths import cache_directory
from tools.cli.pulumi_command import Pulumi, PulumiError
from tools.cli.written_settings import written_setting

PLUGIN = "pulumi-resource-kubernetes"
DOWNLOAD_SITES = ("https://get.pulumi.com", "https://api.github.com")
"""Pulumi downloads a missing plugin from one of them."""
PROBE_SECONDS = 3


def require_kubernetes_plugin(pulumi: Pulumi) -> None:
    """Fail at once where Pulumi would retry the download of a plugin that it cannot reach.

    Raises:
        PulumiError: The stack has a cluster, and the plugin is neither installed nor downloadable.
    """
    cluster = written_setting(pulumi.stack, "infra:cluster") or "none"
    if cluster == "none" or _is_installed(pulumi) or any(map(_answers, DOWNLOAD_SITES)):
        return
    number = version("pulumi-kubernetes")
    file = _bundled()
    remedy = f"`pulumi plugin install resource kubernetes {number} --file {file}`" if file else "`make bundle`"
    raise PulumiError(
        f"stack {pulumi.stack} has a cluster, and Pulumi's Kubernetes plugin {number} is not installed and cannot be "
        f"downloaded here; run {remedy}"
    )


def _is_installed(pulumi: Pulumi) -> bool:
    """Return True if the plugin is beside the CLI, on PATH or in PULUMI_HOME, or if a mirror serves plugins."""
    environment = pulumi.environment
    if environment.get("PULUMI_PLUGIN_DOWNLOAD_URL_OVERRIDES"):
        return True
    cli = shutil.which("pulumi", path=environment.get("PATH"))
    beside = cli is not None and Path(cli).resolve().with_name(PLUGIN).exists()
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    installed = home / "plugins" / f"resource-kubernetes-v{version('pulumi-kubernetes')}" / PLUGIN
    return beside or installed.exists() or shutil.which(PLUGIN, path=environment.get("PATH")) is not None


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=PROBE_SECONDS)
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _bundled() -> Path | None:
    """Return the plugin of the bundle, None without one. Only a CLI that `make tools` has built finds it by itself."""
    index = cache_directory() / "bundle" / INDEX
    binaries = json.loads(index.read_text())["binaries"] if index.is_file() else {}
    binary = binaries.get(f"pulumi-kubernetes/{PLUGIN}")
    return index.parent / binary["path"] if binary else None
