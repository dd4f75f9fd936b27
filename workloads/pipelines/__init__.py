"""Pipelines: each a file of this folder with one `@dsl.pipeline` function; a new file is a new pipeline."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent


def names() -> list[str]:
    """All pipelines, named as their files with dashes."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def load(name: str) -> GraphComponent:
    """The pipeline `name` (with dashes), ready to be compiled.

    Raises:
        ValueError: there is no such pipeline, or its file does not define exactly one.
    """
    from kfp.dsl.graph_component import GraphComponent

    if name not in names():
        raise ValueError(f"there is no pipeline {name}; there are: {', '.join(names())}")
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, GraphComponent) and value.pipeline_func.__module__ == module.__name__
    ]
    if len(own) != 1:
        found = ", ".join(pipeline.name for pipeline in own) or "none"
        raise ValueError(f"{module.__file__} must define exactly one @dsl.pipeline function; found: {found}")
    return own[0]
