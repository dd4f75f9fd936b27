"""Pipelines: every file of this folder defines one `@dsl.pipeline` function."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent


def pipeline_names() -> list[str]:
    """Return the names of all pipelines: the file names, with dashes instead of underscores."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load_pipeline(name: str) -> GraphComponent:
    """Return the pipeline `name` (with dashes), ready to be compiled.

    Raises:
        ValueError: The pipeline does not exist, or its file does not define exactly one pipeline.
    """
    from kfp.dsl.graph_component import GraphComponent

    if name not in pipeline_names():
        raise ValueError(f"pipeline {name} does not exist; the pipelines are: {', '.join(pipeline_names())}")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    pipelines = [
        value
        for value in vars(module).values()
        if isinstance(value, GraphComponent) and value.pipeline_func.__module__ == module.__name__
    ]
    if len(pipelines) != 1:
        found = ", ".join(pipeline.name for pipeline in pipelines) or "none"
        raise ValueError(f"{module.__file__} must define exactly one @dsl.pipeline function; found: {found}")
    return pipelines[0]
