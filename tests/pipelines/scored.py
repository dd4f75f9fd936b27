"""Predictions for a small table."""

from __future__ import annotations

from workloads.ml.batch.batch_scorer import BatchScorer, to_csv
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.table import read_table
from workloads.ml.model.model_directory import ModelDirectory

DETECTED = CsvFormat()


def score_csv(
    content: bytes, model: ModelDirectory, target: str, csv_format: CsvFormat = DETECTED
) -> tuple[bytes, int]:
    """Return a table with the columns of the predictions as CSV, and its number of rows."""
    scored = BatchScorer(model, target, csv_format.decimal).score(read_table(content, csv_format))
    return to_csv(scored, header=True), scored.num_rows
