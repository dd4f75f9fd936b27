"""Folders of the project and of its cache, and the pinned versions, for a Python without packages."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def cache_directory() -> Path:
    """Return the absolute path of the folder that holds all tools and data of the project."""
    if directory := os.environ.get("MLPLATFORM_CACHE"):
        return Path(directory).absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "mlplatform"


def tool_directory(name: str, version: str) -> Path:
    """Return the folder of a version of a tool, installed or not."""
    return cache_directory() / "tools" / f"{name}-{version}"


def pinned_versions() -> dict[str, Any]:
    """Return the content of versions.toml."""
    return tomllib.loads((PROJECT / "versions.toml").read_text())
