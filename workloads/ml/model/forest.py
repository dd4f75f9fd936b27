"""Training of a random forest, written as a model directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.ml.data import table
from workloads.ml.errors import StepError
from workloads.ml.model import model_directory
from workloads.ml.model.onnx_export import forest_to_onnx


def train_forest(
    train: str, about: Mapping[str, Any], folder: Path, model_name: str, trees: int, seed: int
) -> dict[str, Any]:
    """Train a random forest on the CSV file `train` and write its model directory to `folder`.

    Args:
        train: Path of the training part, as `table.save` writes it.
        about: `features`, `target`, `classes` and the fingerprint (`source`, `sha256`, `rows`) of the data.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.
        trees: Number of trees.
        seed: Seed of the forest's random choices.

    Returns:
        `oob_score`, the accuracy on the rows that a tree was not trained on, in [0, 1]; and `importance`, the share of
        each feature by name.

    Raises:
        StepError: `trees` is below 1.
    """
    if trees < 1:
        raise StepError(f"trees: {trees}; a forest has at least one")
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = table.load(train)
    forest = RandomForestClassifier(n_estimators=trees, oob_score=True, random_state=seed).fit(rows, labels)
    onnx = forest_to_onnx(forest)
    model_directory.save(folder, onnx, model_directory.describe(model_name, onnx, rows, about))
    importance = dict(zip(about["features"], forest.feature_importances_.tolist(), strict=True))
    return {"oob_score": float(forest.oob_score_), "importance": importance}
