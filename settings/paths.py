"""Folders of the project and of its cache, and the pinned versions."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# The link that is there makes it a part of the package for whoever installs one.
VERSIONS = tomllib.loads((Path(__file__).with_name("versions.toml")).read_text())


def cache_directory() -> Path:
    """The folder of everything that is installed or written by this project."""
    if own := os.environ.get("MLPLATFORM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlplatform"
