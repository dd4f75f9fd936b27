"""Predictions for a small table."""

from __future__ import annotations

from workloads.ml.data.table import read_table
from workloads.ml.model.batch_scoring import BatchScorer, to_csv
from workloads.ml.model.model_directory import ModelDirectory


def score_csv(content: bytes, model: ModelDirectory, target: str) -> tuple[bytes, int]:
    """Return a table with the columns of the predictions as CSV, and its number of rows."""
    scored = BatchScorer(model, target).score(read_table(content))
    return to_csv(scored, header=True), scored.num_rows
