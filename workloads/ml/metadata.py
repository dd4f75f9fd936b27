"""Metadata of artifacts, which one step writes and the next one reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as the step wrote them that made the artifact.

    Kubeflow Pipelines keeps them in a store without lists and objects, and hands these on as {"list": [...]} and
    {"struct": {...}}; its local runner does not.
    """
    return {name: _unwrapped(value) for name, value in metadata.items()}


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if (kind, type(content)) in (("list", list), ("struct", dict)):
            return content
    return value
