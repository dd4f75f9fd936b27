"""Digests of source files: a changed digest compiles a pipeline or restarts a server again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib.metadata import version
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

from settings.paths import PROJECT
from workloads.components import BASE_IMAGE

LIBRARIES = PROJECT / "workloads" / "requirements.txt"
"""File with the libraries of steps."""


def pipeline_digest(pipeline: str, project: Path = PROJECT) -> str:
    """Return the digest of all files that the package of a pipeline depends on.

    These files are the pipeline's file, the modules of the project that it imports, directly or not, and all
    components: a pipeline loads a component by its name.
    """
    workloads = project / "workloads"
    file = workloads / "pipelines" / f"{pipeline.replace('-', '_')}.py"
    components = [*workloads.glob("components/**/*.yaml"), *workloads.glob("components/**/*.py")]
    return sources_digest([*_imported_files(file, project), *components], project)


def local_image() -> str:
    """Return the image name that stands for this computer's environment: step code and versions of its libraries."""
    settings = [PROJECT / "settings" / f"{name}.py" for name in ("metrics", "types", "pipelines/tuning")]
    files = [*(PROJECT / "workloads" / "ml").rglob("*.py"), *settings]
    lines = LIBRARIES.read_text().splitlines()
    names = [line.partition("[")[0] for line in lines if line and not line.startswith("#")]
    versions = " ".join(f"{name} {version(name)}" for name in names)
    return f"{BASE_IMAGE}:{hashlib.sha256((sources_digest(files) + versions).encode()).hexdigest()[:12]}"


def sources_digest(files: Iterable[Path], root: Path = PROJECT) -> str:
    """Return the SHA-256 of the files' paths below `root` and their contents, in any order; skip missing files."""
    found = hashlib.sha256()
    for file in sorted(set(files)):
        if file.is_file():
            found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


class _ProjectModules(ModuleFinder):
    """Finder of the project's modules that a program imports; it executes none of them."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        try:
            return super().find_module(name, path, parent)
        except AttributeError:  # raised for a folder without `__init__.py`, such as platform/
            raise ImportError(name) from None


def _imported_files(file: Path, project: Path) -> set[Path]:
    """Return a Python file and the files of all modules below `project` that it imports, directly or not."""
    if not file.is_file():
        return set()
    finder = _ProjectModules(path=[str(project)])
    try:
        finder.run_script(str(file))
    except SyntaxError:
        return {file}  # the compilation reports the error
    files = (getattr(module, "__file__", None) for module in finder.modules.values())
    return {Path(name).resolve() for name in files if name}
