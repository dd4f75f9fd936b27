"""Metadata of artifacts, written by one step and read by the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KFP_PROPERTIES = frozenset({"display_name", "store_session_info"})
"""Properties that Kubeflow Pipelines adds to an artifact."""


def unwrap_kfp(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata of an artifact as the step before wrote them.

    Kubeflow Pipelines wraps lists as {"list": [...]} and objects as {"struct": {...}}, because its metadata store has
    no such types, and adds `KFP_PROPERTIES`. The local runner of kfp passes metadata on unchanged.
    """
    return {name: _unwrap(value) for name, value in metadata.items() if name not in KFP_PROPERTIES}


def _unwrap(value: Any) -> Any:
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if (kind, type(content)) in (("list", list), ("struct", dict)):
            return content
    return value
