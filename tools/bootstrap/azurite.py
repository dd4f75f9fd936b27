"""Azurite, the Azure Blob Storage emulator of the `dev` stack, run by the environment's own Node.js."""

from __future__ import annotations

import os
import shutil

from tools.bootstrap import environment, paths
from tools.bootstrap.console import run, step

PACKAGE = paths.PROJECT / "tools" / "bootstrap" / "azurite"


def install() -> None:
    """Install what the lock file says, with its integrity hashes checked."""
    version = paths.versions()["azurite"]["version"]
    target = paths.tool("azurite", version)
    lock = PACKAGE / "package-lock.json"
    installed = target / lock.name
    if installed.is_file() and installed.read_bytes() == lock.read_bytes():
        return
    node = environment.node()
    npm = node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with step(f"Installing Azurite {version} (npm ci)"), paths.installing(target) as partial:
        for file in (PACKAGE / "package.json", lock):
            shutil.copy(file, partial)
        downloads = partial / "downloads"
        run(
            [node / "bin" / "node", npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"],
            log=paths.directory() / "logs" / "azurite.log",
            cwd=partial,
            env=os.environ | {"npm_config_cache": str(downloads), "npm_config_update_notifier": "false"},
        )
        shutil.rmtree(downloads, ignore_errors=True)
