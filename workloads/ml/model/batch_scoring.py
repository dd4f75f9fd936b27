"""Batch prediction: a whole table scored with one model."""

from __future__ import annotations

from workloads.ml.data.columns import to_text
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.table import feature_rows, find_columns, read_table
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import ModelDirectory

PREDICTIONS = ("class", "probability")
"""Columns that are added to the table."""


def score(content: bytes, model: ModelDirectory, target: str, csv_format: CsvFormat | None = None) -> tuple[bytes, int]:
    """Return the rows of a table with two more columns: `class` by name and its `probability` in [0, 1].

    Case and punctuation of the features' names may differ. Other columns are copied, except the target.

    Args:
        content: The CSV or Parquet file.
        model: The model that predicts.
        target: Column that is dropped; empty for the target of the model.
        csv_format: Properties of a CSV file that are not detected.

    Returns:
        The CSV file with predictions, and its number of rows.

    Raises:
        StepError: A feature is missing, or a cell of a feature is not a finite number.
    """
    import pandas as pd

    table = read_table(content, csv_format)
    dropped = find_columns(table, [target or model.signature["target"]])
    copied = [name for name in table.column_names if name not in dropped]
    if taken := [name for name in PREDICTIONS if name in copied]:
        raise StepError(f"the data have a column {', '.join(taken)} already; rename it: predictions get that name")
    rows, _ = feature_rows(table, [feature["name"] for feature in model.signature["features"]], csv_format)
    labels, probabilities = model.predict(rows)
    columns = {name: to_text(table.column(name)) for name in copied}
    columns["class"] = [model.signature["classes"][label] for label in labels]
    frame = pd.DataFrame(columns).assign(probability=probabilities.max(axis=1))
    return frame.to_csv(index=False).encode(), len(frame)
