"""Registered models in MLflow: versions of a model directory, the current one by the alias `champion`."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.ml import model, tracking
from workloads.ml.errors import StepError
from workloads.ml.model import Model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ALIAS = "champion"
ARTIFACT = "model"
"""Folder of the experiment run's artifacts that holds the model directory."""


def register(
    tracking_url: str, folder: Path, model_name: str, metrics: Mapping[str, float], pipeline: str, run_key: str
) -> str:
    """Make the model directory in `folder` the champion of the registered model `model_name`.

    A model that is registered already, by its SHA-256 and what is known of its features, gets the alias back instead of
    a twin.

    Returns:
        The version.
    """
    mlflow = tracking.client(tracking_url)
    read = model.load(folder)
    read.signature["metrics"] = dict(metrics)
    version = _registered(mlflow, model_name, read)
    if version is None:
        version = _add(mlflow, read, model_name, pipeline, run_key)
    mlflow.set_registered_model_alias(model_name, ALIAS, version)
    return version


def fetch(tracking_url: str, model_name: str, version: str) -> Model:
    """A registered version, its hash checked against the registry's.

    Raises:
        StepError: there is no such version, or it was changed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    mlflow = tracking.client(tracking_url)
    try:
        registered = mlflow.get_model_version(model_name, version)
    except MlflowException as error:
        named = f"model {model_name} version {version!r}"
        raise StepError(f"{named} cannot be had from {tracking_url}: {error.message}") from None
    with tempfile.TemporaryDirectory() as folder:
        downloaded = download_artifacts(artifact_uri=registered.source, dst_path=folder, tracking_uri=tracking_url)
        found = model.load(Path(downloaded))
    named = registered.tags.get("sha256", "nothing")
    if found.signature["sha256"] != named:
        raise StepError(
            f"model {model_name} version {version} was changed: its SHA-256 is {found.signature['sha256']}, "
            f"the registry says {named}"
        )
    return found


def _registered(mlflow: MlflowClient, model_name: str, read: Model) -> str | None:
    same = f"tags.sha256 = '{read.signature['sha256']}' and tags.features = '{_features(read)}'"
    found: list[ModelVersion] = mlflow.search_model_versions(f"name = '{model_name}' and {same}")
    return str(max(int(version.version) for version in found)) if found else None


def _add(mlflow: MlflowClient, read: Model, model_name: str, pipeline: str, run_key: str) -> str:
    from mlflow.exceptions import MlflowException

    run = tracking.find_or_create_run(mlflow, pipeline, run_key)
    with tempfile.TemporaryDirectory() as folder:
        _save(read, Path(folder) / ARTIFACT)
        mlflow.log_artifacts(run.info.run_id, folder)
    mlflow.set_terminated(run.info.run_id)
    try:
        mlflow.create_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {
        "sha256": read.signature["sha256"],
        "features": _features(read),
        "accuracy": str(read.signature["metrics"]["accuracy"]),
        "pipeline": pipeline,
        "run": run_key,
    }
    source = f"{run.info.artifact_uri}/{ARTIFACT}"
    created = mlflow.create_model_version(model_name, source, run.info.run_id, tags=tags, await_creation_for=0)
    return str(created.version)


def _features(read: Model) -> str:
    """SHA-256 of what the signature says of the features: where it once said less, that is another version."""
    return model.digest(json.dumps(read.signature["features"]).encode())


def _save(read: Model, folder: Path) -> None:
    """The model directory together with what MLflow's own tools want beside it."""
    import mlflow.onnx
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec
    from onnx import load_model_from_string

    features, classes = len(read.signature["features"]), len(read.signature["classes"])
    mlflow.onnx.save_model(
        load_model_from_string(read.onnx),
        str(folder),
        signature=ModelSignature(
            inputs=Schema([TensorSpec(np.dtype(np.float32), (-1, features), "features")]),
            outputs=Schema(
                [
                    TensorSpec(np.dtype(np.int64), (-1,), "label"),
                    TensorSpec(np.dtype(np.float32), (-1, classes), "probabilities"),
                ]
            ),
        ),
        # Given, because MLflow would otherwise find them out by loading the model in a process of its own.
        pip_requirements=[f"{name}=={installed(name)}" for name in ("mlflow", "onnx", "onnxruntime")],
        save_as_external_data=False,
    )
    model.save(folder, read.onnx, read.signature)
