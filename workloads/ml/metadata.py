"""Metadata of artifacts, which one step writes and the next one reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OF_KUBEFLOW = frozenset({"display_name", "store_session_info"})
"""What Kubeflow Pipelines itself adds to the properties of an artifact."""


def plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata as the step wrote them that made the artifact.

    Kubeflow Pipelines keeps them in a store without lists and objects, hands these on as {"list": [...]} and
    {"struct": {...}}, and adds some of its own; its local runner does neither.
    """
    return {name: _unwrapped(value) for name, value in metadata.items() if name not in OF_KUBEFLOW}


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if (kind, type(content)) in (("list", list), ("struct", dict)):
            return content
    return value
