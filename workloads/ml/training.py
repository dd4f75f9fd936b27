"""Trains a classifier and writes it as a model directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workloads.ml import model, table
from workloads.ml.errors import StepError
from workloads.ml.export import forest_to_onnx


def train_forest(
    train: str, about: Mapping[str, Any], folder: Path, model_name: str, trees: int, seed: int
) -> dict[str, Any]:
    """Train a random forest on the CSV file `train` and write its model directory.

    Args:
        about: `features`, `target`, `classes` and the fingerprint (`source`, `sha256`, `rows`) of the data.

    Returns:
        What only the trained forest can tell: `oob_score` (accuracy on the rows that a tree did not see, in [0, 1]) and
        `importance`, the share of each feature by name.

    Raises:
        StepError: a number of trees that is none.
    """
    if trees < 1:
        raise StepError(f"trees: {trees}; a forest has at least one")
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = table.load(train)
    forest = RandomForestClassifier(n_estimators=trees, oob_score=True, random_state=seed).fit(rows, labels)
    onnx = forest_to_onnx(forest)
    model.save(folder, onnx, model.describe(model_name, onnx, rows, about))
    importance = dict(zip(about["features"], forest.feature_importances_.tolist(), strict=True))
    return {"oob_score": float(forest.oob_score_), "importance": importance}
