"""Registered models in MLflow: versions of a model directory; the alias `champion` names the current version."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from settings.metrics import CLASSIFICATION, COSTS, MAIN_METRICS, metrics_of
from workloads.ml import tracking
from workloads.ml.champion_history import change_to
from workloads.ml.errors import StepError
from workloads.ml.model.mlflow_model import save_mlflow_model
from workloads.ml.model.model_directory import ModelDirectory, load_model_directory, require_servable, sha256_hex
from workloads.ml.rest_client import ALIAS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ARTIFACT = "model"
"""Folder of the model directories among the artifacts of the experiment run, each under its digest."""
DIGEST_CHARACTERS = 12


class ChangedFilesError(StepError):
    """Files of a registered version that are lost, or that are not those that were registered."""


def register(
    tracking_url: str,
    folder: Path,
    model_name: str,
    metrics: Mapping[str, float],
    pipeline: str,
    run_key: str,
    *,
    champion: bool = True,
) -> str:
    """Register the model directory in `folder`; with `champion`, its version gets the alias `champion`.

    A model with the same SHA-256 and the same description is not registered twice: its version gets the alias. The
    signature has the metrics that the model's task has.

    Returns:
        The version.

    Raises:
        StepError: The model cannot be served; the registry is unchanged.
    """
    mlflow = tracking.client(tracking_url)
    model = load_model_directory(folder)
    require_servable(model)
    quality = [name for name in metrics_of(_task(model)) if name not in COSTS]
    model.signature["metrics"] = {name: float(metrics[name]) for name in quality if name in metrics}
    version = _find_version(tracking_url, model_name, model)
    if version is None:
        version = _add_version(mlflow, model, model_name, pipeline, run_key)
    if champion:
        mlflow.set_registered_model_alias(model_name, ALIAS, version)
        tags = mlflow.get_registered_model(model_name).tags
        if change := change_to(tags, version, "the pipeline registered it", f"pipeline {pipeline}, run {run_key}"):
            mlflow.set_registered_model_tag(model_name, *change.tag())
    return version


def fetch(tracking_url: str, model_name: str, version: str) -> ModelDirectory:
    """Return a registered version after comparing its SHA-256 with the registry's.

    Raises:
        ChangedFilesError: Its files are lost or changed.
        StepError: The version does not exist, or MLflow cannot read it.
    """
    from mlflow.artifacts import download_artifacts, list_artifacts
    from mlflow.exceptions import MlflowException

    mlflow = tracking.client(tracking_url)
    named = f"model {model_name} version {version!r}"
    try:
        registered = mlflow.get_model_version(model_name, version)
        address = {"artifact_uri": registered.source, "tracking_uri": tracking_url}
        # A download of a folder that is lost fails as one from a store that does not respond.
        if not list_artifacts(**address):
            raise ChangedFilesError(f"{named} has lost its files: {registered.source} is empty")
        with tempfile.TemporaryDirectory() as folder:
            model = _load(named, Path(download_artifacts(**address, dst_path=folder)))
    except MlflowException as error:
        raise StepError(f"{named} cannot be read from {tracking_url}: {error.message}") from None
    expected = registered.tags.get("sha256", "nothing")
    if model.signature["sha256"] != expected:
        found = model.signature["sha256"]
        raise ChangedFilesError(f"{named} was changed: its SHA-256 is {found}, the registry says {expected}")
    return model


def _load(named: str, folder: Path) -> ModelDirectory:
    try:
        return load_model_directory(folder)
    except StepError as error:
        raise ChangedFilesError(f"{named} was changed: {error}") from None


def _find_version(tracking_url: str, model_name: str, model: ModelDirectory) -> str | None:
    """Return the newest version of the same model. A version whose files are lost or changed is another one."""
    same = f"tags.sha256 = '{model.signature['sha256']}' and tags.features = '{_features_digest(model)}'"
    found: list[ModelVersion] = tracking.client(tracking_url).search_model_versions(f"name = '{model_name}' and {same}")
    for version in sorted((int(each.version) for each in found), reverse=True):
        with suppress(ChangedFilesError):
            if _description(fetch(tracking_url, model_name, str(version))) == _description(model):
                return str(version)
    return None


def _description(model: ModelDirectory) -> list[Any]:
    """Return what callers of a model see, apart from its features."""
    return [model.signature.get(key) for key in ("task", "target", "targets", "classes", "unit")]


def create_model(mlflow: MlflowClient, name: str) -> None:
    """Create a registered model without versions, unless it exists."""
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _add_version(mlflow: MlflowClient, model: ModelDirectory, model_name: str, pipeline: str, run_key: str) -> str:
    run = tracking.find_or_create_run(mlflow, pipeline, run_key)
    # A run may register several models.
    directory = f"{ARTIFACT}/{sha256_hex(model.onnx + json.dumps(model.signature).encode())[:DIGEST_CHARACTERS]}"
    with tempfile.TemporaryDirectory() as folder:
        save_mlflow_model(model, Path(folder) / directory)
        mlflow.log_artifacts(run.info.run_id, folder)
    mlflow.set_terminated(run.info.run_id)
    create_model(mlflow, model_name)
    score = MAIN_METRICS[_task(model)]
    tags = {
        "sha256": model.signature["sha256"],
        "features": _features_digest(model),
        score: str(model.signature["metrics"][score]),
        "pipeline": pipeline,
        "run": run_key,
    }
    source = f"{run.info.artifact_uri}/{directory}"
    created = mlflow.create_model_version(model_name, source, run.info.run_id, tags=tags, await_creation_for=0)
    return str(created.version)


def _task(model: ModelDirectory) -> str:
    return str(model.signature.get("task", CLASSIFICATION))


def _features_digest(model: ModelDirectory) -> str:
    """Return the SHA-256 of the features' description: the same ONNX with a new description is another version."""
    return sha256_hex(json.dumps(model.signature["features"]).encode())
