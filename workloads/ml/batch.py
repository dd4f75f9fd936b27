"""Scores a whole file: the batch kind of deployment."""

from __future__ import annotations

from workloads.ml.errors import StepError
from workloads.ml.model import Model
from workloads.ml.table import numbers, read_frame, snake_case

ANSWERS = ("class", "probability")


def score(content: bytes, found: Model, target: str) -> tuple[bytes, int]:
    """The rows of a CSV file with the model's answers: `class` by name and its `probability` in [0, 1].

    Columns are found by their names in snake case; others than the model's features are carried along, but `target`
    ("": the column that the model was trained to tell).

    Returns:
        The answered CSV file and its number of rows.

    Raises:
        StepError: a feature is missing, or a cell of one is not a finite number.
    """
    frame = read_frame(content).drop(columns=snake_case(target) or found.signature["target"], errors="ignore")
    if taken := [name for name in ANSWERS if name in frame]:
        raise StepError(f"the data have a column {', '.join(taken)} already, where the answer would go")
    labels, probabilities = found.predict(numbers(frame, [feature["name"] for feature in found.signature["features"]]))
    frame["class"] = [found.signature["classes"][label] for label in labels]
    frame["probability"] = probabilities.max(axis=1)
    return frame.to_csv(index=False).encode(), len(frame)
