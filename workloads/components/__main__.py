"""Compiles every component of this folder to its component file."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from workloads import components

FOLDER = Path(components.__file__).parent


def names() -> list[str]:
    """All components: the modules of this folder, each of which defines one function of its own name."""
    return sorted(module.name for module in pkgutil.iter_modules([str(FOLDER)]) if not module.name.startswith("_"))


def compile_to(folder: Path, name: str) -> Path:
    """Compile one component to `<folder>/<name>.yaml`."""
    from kfp.compiler import Compiler

    file = folder / f"{name}.yaml"
    Compiler().compile(getattr(import_module(f"workloads.components.{name}"), name), str(file))
    return file


if __name__ == "__main__":
    for name in names():
        print(compile_to(FOLDER, name))
