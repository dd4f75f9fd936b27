"""Folders of the project and of its cache, and the pinned versions."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# A package contains only files below its folder: settings/versions.toml is a link to the project's versions.toml.
VERSIONS = tomllib.loads((Path(__file__).with_name("versions.toml")).read_text())


def cache_directory() -> Path:
    """Return the folder for everything that this project installs or writes."""
    if cache := os.environ.get("MLPLATFORM_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlplatform"
