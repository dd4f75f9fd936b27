"""Azurite, the Azure Blob Storage emulator of the `dev` stack; the environment's Node.js runs it."""

from __future__ import annotations

from tools.bootstrap import paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import step
from tools.bootstrap.environment import NPM_LOCK, install_npm_packages

PACKAGE = paths.PROJECT / "tools" / "bootstrap" / "azurite"


def install_azurite() -> None:
    """Install the packages of the lock file."""
    version = paths.pinned_versions()["azurite"]["version"]
    target = paths.tool_directory("azurite", version)
    installed = target / NPM_LOCK
    if installed.is_file() and installed.read_bytes() == (PACKAGE / NPM_LOCK).read_bytes():
        return
    with step(f"Installing Azurite {version} (npm ci)"), atomic_install(target) as partial:
        install_npm_packages(PACKAGE, partial, paths.cache_directory() / "logs" / "azurite.log")
