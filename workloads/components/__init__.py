"""Components: the steps of pipelines. Each is one Python file here, and its compiled component file in `compiled/`.

`load_component` reads the compiled file, so a component works in any pipeline. After a change to the Python,
`python -m workloads.components` compiles the files again.

kfp copies only the source of the function to the step, so a component imports inside its function. kfp evaluates the
annotations, so a component file must not use `from __future__ import annotations`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

COMPILED = Path(__file__).with_name("compiled")
BASE_IMAGE = "mlplatform/python-workloads"
"""Logical name of the image with `workloads.ml` and its libraries; compiling a pipeline replaces it."""


def component(function: Callable[..., Any]) -> Any:
    """Make a function a lightweight Python component that installs nothing at run time."""
    from kfp import dsl

    return dsl.component(function, base_image=BASE_IMAGE, install_kfp_package=False)


def load_component(name: str) -> Any:
    """Return the component of the file `compiled/<name>.yaml`.

    Raises:
        FileNotFoundError: The file does not exist.
    """
    from kfp.components import load_component_from_file

    return load_component_from_file(str(COMPILED / f"{name}.yaml"))
