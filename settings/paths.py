"""Folders of the project and of its cache, and the pinned versions."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tools.bootstrap.paths import PROJECT, cache_directory

__all__ = ["PROJECT", "VERSIONS", "cache_directory"]

# A package contains only files below its folder: settings/versions.toml is a link to the project's versions.toml.
VERSIONS = tomllib.loads((Path(__file__).with_name("versions.toml")).read_text())
