"""Batch prediction: a whole table scored with one model."""

from __future__ import annotations

from workloads.ml.data.table import numbers, read_frame, snake_case
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import ModelDirectory

PREDICTIONS = ("class", "probability")
"""Columns that are added to the table."""


def score(content: bytes, model: ModelDirectory, target: str) -> tuple[bytes, int]:
    """Return the rows of a CSV file with two more columns: `class` by name and its `probability` in [0, 1].

    Features are found by their names in snake case. Other columns are copied, except the target.

    Args:
        content: The CSV file.
        model: The model that predicts.
        target: Column that is dropped; empty for the target of the model.

    Returns:
        The CSV file with predictions, and its number of rows.

    Raises:
        StepError: A feature is missing, or a cell of a feature is not a finite number.
    """
    frame = read_frame(content).drop(columns=snake_case(target) or model.signature["target"], errors="ignore")
    if taken := [name for name in PREDICTIONS if name in frame]:
        raise StepError(f"the data have a column {', '.join(taken)} already; rename it: predictions get that name")
    labels, probabilities = model.predict(numbers(frame, [feature["name"] for feature in model.signature["features"]]))
    frame["class"] = [model.signature["classes"][label] for label in labels]
    frame["probability"] = probabilities.max(axis=1)
    return frame.to_csv(index=False).encode(), len(frame)
