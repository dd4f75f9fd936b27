"""Compiled package of a pipeline."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class PipelinePackage:
    """Compiled package of a pipeline.

    Args:
        ir: the package as kfp's IR YAML: the pipeline, then an optional document for a platform.
        parameters: the pipeline's parameters by name, as the IR's `inputDefinitions` declare them.
        sha256: the SHA-256 of `ir`.
    """

    ir: str
    parameters: dict[str, Any]
    sha256: str

    @classmethod
    def from_documents(cls, documents: Sequence[dict[str, Any]]) -> PipelinePackage:
        """Return the package of the parsed documents of an IR."""
        ir = str(yaml.safe_dump_all(documents))
        parameters = documents[0]["root"].get("inputDefinitions", {}).get("parameters", {})
        return cls(ir, parameters, hashlib.sha256(ir.encode()).hexdigest())
