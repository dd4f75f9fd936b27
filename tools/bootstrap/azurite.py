"""Azurite, the Azure Blob Storage emulator of the `dev` stack; the environment's Node.js runs it."""

from __future__ import annotations

import os
import shutil

from tools.bootstrap import environment, paths
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.console import step
from tools.bootstrap.process import run_visible

PACKAGE = paths.PROJECT / "tools" / "bootstrap" / "azurite"


def install_azurite() -> None:
    """Install the packages of the lock file; npm verifies their integrity hashes."""
    version = paths.pinned_versions()["azurite"]["version"]
    target = paths.tool_directory("azurite", version)
    lock = PACKAGE / "package-lock.json"
    installed = target / lock.name
    if installed.is_file() and installed.read_bytes() == lock.read_bytes():
        return
    node = environment.node_program()
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with step(f"Installing Azurite {version} (npm ci)"), atomic_install(target) as partial:
        for file in (PACKAGE / "package.json", lock):
            shutil.copy(file, partial)
        downloads = partial / "downloads"
        run_visible(
            [node / "bin" / "node", npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
            log=paths.cache_directory() / "logs" / "azurite.log",
            cwd=partial,
            env=os.environ | {"npm_config_cache": str(downloads), "npm_config_update_notifier": "false"},
        )
        shutil.rmtree(downloads, ignore_errors=True)
