"""The setting `gate` as parameters of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

GATE, BASELINE = "gate", "baseline"
"""Pipeline parameters: all conditions of the gate, and the bound of a gate on the accuracy alone."""


def gate_parameters(conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the values of the parameters that a pipeline may declare for its gate."""
    parameters: dict[str, Any] = {GATE: [dict(condition) for condition in conditions]}
    if len(conditions) == 1 and conditions[0].keys() == {"metric", "above"} and conditions[0]["metric"] == "accuracy":
        parameters[BASELINE] = conditions[0]["above"]
    return parameters


def require_gate_parameter(pipeline: str, declared: Mapping[str, Any]) -> None:
    """Refuse a gate on a model that is not served if the pipeline declares no parameter for the gate.

    Raises:
        RunError: neither the pipeline nor the platform would apply the gate.
    """
    if not {GATE, BASELINE} & declared.keys():
        raise pulumi.RunError(
            f"workloads:pipelines.{pipeline}.gate: nothing applies this gate: the pipeline has no parameter {GATE} or "
            f"{BASELINE}, and its model is not served. Add the parameter {GATE}, set serve: true, or remove the gate"
        )
