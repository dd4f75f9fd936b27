"""Training of an estimator that is chosen by name, written as a model directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.ml.data.encoding import Rows
from workloads.ml.data.table import TableDescription, count_rows, is_large, load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.model.classifier import save_classifier
from workloads.ml.model.detector import save_detector
from workloads.ml.model.model_directory import IMPORTANCE_FILE
from workloads.ml.model.regressor import save_regressor
from workloads.ml.training.chunks import fit_in_chunks, learns_in_chunks, load_sample
from workloads.ml.training.dask_training import fit_on_workers
from workloads.ml.training.dask_workers import DaskWorkers
from workloads.ml.training.estimators import build_estimator, fit_estimator, with_class_indices
from workloads.ml.training.preparation import prepare

SAVERS = {
    Task.CLASSIFICATION: save_classifier,
    Task.REGRESSION: save_regressor,
    Task.ANOMALY: save_detector,
}


def train_estimator(
    train: str,
    folder: Path,
    model_name: str,
    name: str,
    parameters: Mapping[str, Any],
    seed: int,
    dask: DaskWorkers | None = None,
) -> str:
    """Train an estimator on the part `train` and write its model directory to `folder`.

    Of a large table, an estimator that can do so learns in chunks.

    An estimator that knows the importance of its features adds the file `importance.json`.

    Args:
        train: Path of the training part, as `save_table` writes it.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.
        name: Name or full path of the estimator.
        parameters: Arguments of the estimator.
        seed: Seed of the estimator's random choices.
        dask: The workers that share the training; None for this process alone.

    Returns:
        A sentence about the preparation of the rows.

    Raises:
        StepError: The estimator does not exist, cannot be trained, or cannot be exported exactly.
    """
    description = load_description(train)
    task = Task(description["task"])
    estimator = build_estimator(name, with_class_indices(parameters, description["classes"]), task, seed)
    if dask is not None:
        fitted, preparation = fit_on_workers(dask, name, estimator, train, description)
        rows = load_sample(train)
    elif is_large(count_rows(train), len(description["features"])) and learns_in_chunks(estimator):
        fitted, preparation = fit_in_chunks(name, estimator, train, description, seed)
        rows = load_sample(train)
    else:
        fitted, preparation, rows = _fit_in_memory(name, estimator, train, description)
    SAVERS[task](fitted, rows, description, folder, model_name)
    shares = getattr(fitted, "feature_importances_", None)
    if shares is not None:
        importance = dict(zip(description["features"], (float(share) for share in shares), strict=True))
        (folder / IMPORTANCE_FILE).write_text(json.dumps(importance))
    return preparation


def _fit_in_memory(name: str, estimator: Any, train: str, description: TableDescription) -> tuple[Any, str, Rows]:
    """Return the trained estimator, a sentence about the preparation, and the rows."""
    rows, labels = load_table(train, f"estimator: {name}")
    prepared, preparation = prepare(estimator, description["columns"])
    anomaly = description["task"] == Task.ANOMALY
    if anomaly:
        # What deviates from normal rows is an anomaly, whether the training data have its like or not.
        rows = rows[labels == 0]
        preparation += f"; it is trained on the {len(rows)} normal rows"
    fit_estimator(name, prepared, rows, None if anomaly else labels)
    return prepared, preparation, rows
