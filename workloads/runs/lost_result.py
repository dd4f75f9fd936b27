"""Detection of a model registry that lacks the result of a run, for example after its database was deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi import contains_unknowns

from infra.errors import UserError
from workloads.mlflow_rest import mlflow_rest


def registered_model(run: Mapping[str, Any]) -> str:
    """Return the model whose version a run registered; `run` are the outputs of `PipelineRun`.

    A pipeline without the parameter `model_name` registers the model of the settings.
    """
    return str(run["arguments"].get("model_name", run["platform"]["model_name"]))


def result_is_lost(run: Mapping[str, Any], access: Any) -> bool:
    """Return True if the model registry responds, but lacks the version that the run registered.

    A run that registered no version leaves its record in MLflow only: that record counts instead.

    Args:
        run: the outputs of `PipelineRun`.
        access: access to the registry, unknown in the preview of a new one.
    """
    import requests

    if "version" not in run["outputs"] or contains_unknowns(access):
        return False
    version = run["outputs"]["version"]
    try:
        with mlflow_rest(access) as mlflow:
            if version:
                return not mlflow.has_version(registered_model(run), version)
            return bool(run["run_id"]) and not mlflow.has_run(run["pipeline"], run["run_id"])
    except (requests.RequestException, UserError):
        return False  # an unavailable registry is no reason to train again
