"""Predictions for a small table."""

from __future__ import annotations

from functools import partial
from io import BytesIO

import pyarrow as pa

from workloads.ml.batch.batch_scorer import BatchScorer, to_csv
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import DataFile
from workloads.ml.data.table_chunks import find_units, read_chunks
from workloads.ml.model.model_directory import ModelDirectory

DETECTED = CsvFormat()


def score_csv(
    content: bytes, model: ModelDirectory, target: str, csv_format: CsvFormat = DETECTED
) -> tuple[bytes, int]:
    """Return a table with the columns of the predictions as CSV, and its number of rows."""
    (unit,) = find_units([DataFile("table", "", partial(BytesIO, content))], csv_format)
    read = pa.concat_tables(read_chunks(unit, csv_format))
    scored = BatchScorer(model, target, csv_format.decimal).score(read)
    return to_csv(scored, header=True), scored.num_rows
