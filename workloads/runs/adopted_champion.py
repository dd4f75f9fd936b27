"""Outputs in place of the first run of a pipeline whose model has a champion already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.errors import UserError
from workloads.mlflow_rest import mlflow_rest
from workloads.runs.run_outputs import inherited_outputs


def adopted_outputs(access: Mapping[str, Any], model: str) -> dict[str, str]:
    """Return the outputs for the champion that the model registry has; {} without one, or if `model` is "".

    Raises:
        UserError: the registry does not respond.
    """
    import requests

    if not model:
        return {}
    try:
        with mlflow_rest(access) as registry:
            champion = registry.champion(model)
    except requests.RequestException as error:
        raise UserError(f"the champion of {model} cannot be read from {access['url']}: {error}") from None
    return inherited_outputs(model, {model: champion["version"]} if champion else {}, "a backup")
