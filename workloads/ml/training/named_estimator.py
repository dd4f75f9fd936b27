"""Training of an estimator that is chosen by name, written as a model directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.model.classifier import save_classifier
from workloads.ml.model.detector import save_detector
from workloads.ml.model.model_directory import IMPORTANCE_FILE
from workloads.ml.model.regressor import save_regressor
from workloads.ml.training.estimators import build_estimator, fit_estimator
from workloads.ml.training.preparation import prepare

SAVERS = {
    Task.CLASSIFICATION: save_classifier,
    Task.REGRESSION: save_regressor,
    Task.ANOMALY: save_detector,
}


def train_estimator(
    train: str, folder: Path, model_name: str, name: str, parameters: Mapping[str, Any], seed: int
) -> str:
    """Train an estimator on the part `train` and write its model directory to `folder`.

    An estimator that knows the importance of its features adds the file `importance.json`.

    Args:
        train: Path of the training part, as `save_table` writes it.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.
        name: Name or full path of the estimator.
        parameters: Arguments of the estimator.
        seed: Seed of the estimator's random choices.

    Returns:
        A sentence about the preparation of the rows.

    Raises:
        StepError: The estimator does not exist, cannot be trained, or cannot be exported exactly.
    """
    rows, labels = load_table(train)
    description = load_description(train)
    task = Task(description["task"])
    prepared, preparation = prepare(build_estimator(name, parameters, task, seed), description["columns"])
    if task is Task.ANOMALY:
        # What deviates from normal rows is an anomaly, whether the training data have its like or not.
        rows = rows[labels == 0]
        preparation += f"; it is trained on the {len(rows)} normal rows"
    fit_estimator(name, prepared, rows, None if task is Task.ANOMALY else labels)
    SAVERS[task](prepared, rows, description, folder, model_name)
    shares = getattr(prepared, "feature_importances_", None)
    if shares is not None:
        importance = dict(zip(description["features"], (float(share) for share in shares), strict=True))
        (folder / IMPORTANCE_FILE).write_text(json.dumps(importance))
    return preparation
