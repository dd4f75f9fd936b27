"""Training of a random forest, written as a model directory."""

from __future__ import annotations

import json
from pathlib import Path

from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.model.classifier import save_classifier
from workloads.ml.model.model_directory import IMPORTANCE_FILE
from workloads.ml.model.regressor import save_regressor


def train_forest(train: str, folder: Path, model_name: str, trees: int, seed: int) -> float:
    """Train a random forest on the part `train` and write its model directory to `folder`.

    The file `importance.json` in the directory has the share of each feature by name.

    Args:
        train: Path of the training part, as `save_table` writes it.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.
        trees: Number of trees.
        seed: Seed of the forest's random choices.

    Returns:
        The out-of-bag score, from the rows that a tree was not trained on: the accuracy in [0, 1], or R2.

    Raises:
        StepError: `trees` is below 1, or the table is for the detection of anomalies.
    """
    if trees < 1:
        raise StepError(f"trees: {trees}; a forest has at least one")
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    rows, labels = load_table(train)
    description = load_description(train)
    if description["task"] == Task.ANOMALY:
        raise StepError("task: anomaly needs a detector; write for example `estimator: IsolationForest`")
    regression = description["task"] == Task.REGRESSION
    kind, save = (RandomForestRegressor, save_regressor) if regression else (RandomForestClassifier, save_classifier)
    forest = kind(n_estimators=trees, oob_score=True, random_state=seed).fit(rows, labels)
    save(forest, rows, description, folder, model_name)
    importance = dict(zip(description["features"], forest.feature_importances_.tolist(), strict=True))
    (folder / IMPORTANCE_FILE).write_text(json.dumps(importance))
    return float(forest.oob_score_)
