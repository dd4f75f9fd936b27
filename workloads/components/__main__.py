"""Compiles every component to its component file: `python -m workloads.components`."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

from workloads import components


def component_names() -> list[str]:
    """Return the names of all components: the modules of this folder, each with one function of the same name."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules(components.__path__)
        if not (module.ispkg or module.name.startswith("_"))
    )


def compile_to(folder: Path, name: str) -> Path:
    """Compile one component to `<folder>/<name>.yaml`."""
    from kfp.compiler import Compiler

    file = folder / f"{name}.yaml"
    Compiler().compile(getattr(import_module(f"workloads.components.{name}"), name), str(file))
    return file


if __name__ == "__main__":
    for name in component_names():
        print(compile_to(components.COMPILED, name))
