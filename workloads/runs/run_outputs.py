"""Stack outputs of runs and champions, from the outputs of pipelines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi


def inherited_outputs(model: str, champions: Mapping[str, str], origin: str) -> dict[str, str]:
    """Return outputs in place of the first run of a pipeline, if its model has a champion already; else {}."""
    if model not in champions:
        return {}
    version = champions[model]
    return {"version": version, "decision": f"{model} version {version} came as champion from {origin}"}


def deployed_version(pipeline: str, outputs: dict[str, Any]) -> str:
    """Return the model version that a run deployed, or an empty text.

    Raises:
        RunError: the pipeline does not return `version`.
    """
    if "version" not in outputs:
        raise pulumi.RunError(
            f"workloads:pipelines.{pipeline}.serve: the pipeline must return `version`, the registered "
            f"model version that it deployed or an empty text; it returns: {', '.join(outputs) or 'nothing'}"
        )
    return str(outputs["version"])


def model_output(model: dict[str, Any]) -> dict[str, Any]:
    """Return the stack output of a champion; its main metric has the name of the metric."""
    metrics, accuracy = model.pop("metrics"), model.pop("accuracy")
    return {**model, **(metrics or {"accuracy": accuracy})}


def run_output(run: dict[str, Any]) -> dict[str, Any]:
    """Return the stack output of a run: the pipeline's outputs, with gate, state, id, artifacts and log of the run."""
    return {**run["outputs"], **{key: value for key, value in run.items() if key != "outputs"}}


def with_decision(run: dict[str, Any], decision: str, rejected: str) -> dict[str, Any]:
    """Return the stack output of a run with the platform's decision, if the pipeline has none or the gate differs."""
    if rejected:
        return run | {"decision": decision} | ({"deployed": False} if "deployed" in run else {})
    return run | ({"decision": decision} if decision and not run.get("decision") else {})
