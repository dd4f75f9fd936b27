"""Batch prediction: a whole table scored with one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workloads.ml.data.columns import cell_texts
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.encoding import Rows, encode_rows, find_columns
from workloads.ml.data.table import read_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import ModelDirectory, signature_task, targets_of


def score(content: bytes, model: ModelDirectory, target: str, csv_format: CsvFormat | None = None) -> tuple[bytes, int]:
    """Return the rows of a table with the columns of the predictions.

    They are `class` by name and its `probability` in [0, 1]; of a regression, `predicted_<target>` for each target.
    Case and punctuation of the features' names may differ. Other columns are copied, except the targets.

    Args:
        content: The CSV or Parquet file.
        model: The model that predicts.
        target: Column that is dropped; empty for the targets of the model.
        csv_format: Properties of a CSV file that are not detected.

    Returns:
        The CSV file with predictions, and its number of rows.

    Raises:
        StepError: A feature is missing, or a cell does not fit the type of its feature.
    """
    import pandas as pd

    table = read_table(content, csv_format)
    targets = targets_of(model.signature)
    dropped = find_columns(table, [target] if target else targets)
    copied = [name for name in table.column_names if name not in dropped]
    regression = signature_task(model.signature) is Task.REGRESSION
    names = [f"predicted_{name}" for name in targets] if regression else ["class", "probability"]
    if taken := [name for name in names if name in copied]:
        raise StepError(f"the data have a column {', '.join(taken)} already; rename it: predictions get that name")
    rows = encode_rows(table, model.signature["features"], (csv_format or CsvFormat()).decimal)
    predicted = _predict_values(model, rows, names) if regression else _predict_classes(model, rows)
    frame = pd.DataFrame({name: cell_texts(table.column(name)) for name in copied}).assign(**predicted)
    return frame.to_csv(index=False).encode(), len(frame)


def _predict_values(model: ModelDirectory, rows: Rows, names: Sequence[str]) -> Mapping[str, Any]:
    return dict(zip(names, model.predict_values(rows).T, strict=True))


def _predict_classes(model: ModelDirectory, rows: Rows) -> Mapping[str, Any]:
    labels, probabilities = model.predict(rows)
    return {
        "class": [model.signature["classes"][label] for label in labels],
        "probability": probabilities.max(axis=1),
    }
