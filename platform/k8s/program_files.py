"""Sources of programs that pods run: they get into a pod by a ConfigMap."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType


def program_files(package: ModuleType) -> dict[str, str]:
    """Return the files of a package by name, as data of a ConfigMap."""
    folder = Path(next(iter(package.__path__)))
    return {file.name: file.read_text() for file in sorted(folder.iterdir()) if file.is_file()}
