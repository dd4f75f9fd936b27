"""Components: each step of a pipeline in a file of its own, with its separately compiled component file beside it.

A pipeline takes a component from that file (`load`), so any pipeline can reuse one, whoever wrote it. After a change,
`python -m workloads.components` compiles the files again.

kfp takes only the function itself to where it runs, so it imports what it needs inside; and kfp reads its annotations
as objects, so these files do without `from __future__ import annotations`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

BASE_IMAGE = "mlplatform/python-workloads"
"""Logical name of what has `workloads.ml` and its libraries; where the pipeline runs decides what stands for it."""


def component(function: Callable[..., Any]) -> Any:
    """Decorator: a lightweight Python component that installs nothing when it runs."""
    from kfp import dsl

    return dsl.component(function, base_image=BASE_IMAGE, install_kfp_package=False)


def load(name: str) -> Any:
    """The component of the file `<name>.yaml` in this folder, to be called in a pipeline.

    Raises:
        FileNotFoundError: there is no such file.
    """
    from kfp.components import load_component_from_file

    return load_component_from_file(str(Path(__file__).with_name(f"{name}.yaml")))
