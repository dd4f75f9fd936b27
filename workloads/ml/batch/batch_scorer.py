"""Batch prediction: chunks of a table scored with one model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.ml.data.columns import cell_texts
from workloads.ml.data.encoding import encode_rows, find_columns
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.evaluation.predictor import Predictor
from workloads.ml.model.model_directory import ModelDirectory, signature_task, targets_of

if TYPE_CHECKING:
    import pyarrow as pa


class BatchScorer:
    """Model that adds the columns of its predictions to tables.

    They are `class` by name and the `probability` of that class in [0, 1]; of a regression, `predicted_<target>` for
    each target; of an anomaly detection, `anomaly` and `score`.
    Case and punctuation of the features' names may differ. Other columns are copied, except the targets.

    Args:
        model: The model that predicts.
        target: Column that is dropped; empty for the targets of the model.
        decimal: Decimal point of text cells.
    """

    def __init__(self, model: ModelDirectory, target: str = "", decimal: str = ".") -> None:
        self._features = model.signature["features"]
        self._classes = np.array(model.signature["classes"], dtype=object)
        self._predictor = Predictor(model)
        self._decimal = decimal
        targets = targets_of(model.signature)
        self._dropped = [target] if target else targets
        self._task = signature_task(model.signature)
        self._names = {Task.CLASSIFICATION: ["class", "probability"], Task.ANOMALY: ["anomaly", "score"]}.get(
            self._task, [f"predicted_{name}" for name in targets]
        )

    def score(self, table: pa.Table, first_row: int = 0) -> pa.Table:
        """Return the rows of a chunk with the columns of the predictions.

        Args:
            table: The chunk.
            first_row: Index of its first row in the file, for errors.

        Raises:
            StepError: A feature is missing, or a cell does not fit the type of its feature.
        """
        dropped = find_columns(table, self._dropped)
        copied = [name for name in table.column_names if name not in dropped]
        if taken := [name for name in self._names if name in copied]:
            raise StepError(f"the data have a column {', '.join(taken)} already; rename it: predictions get that name")
        answers = self._predictor.answer(encode_rows(table, self._features, self._decimal, first_row))
        if self._task is Task.REGRESSION:
            predicted: list[Any] = list(answers.values.T)
        elif self._task is Task.ANOMALY:
            predicted = [answers.values == 1, answers.probabilities[:, 0]]
        else:
            rows = np.arange(table.num_rows)
            predicted = [self._classes[answers.values], answers.probabilities[rows, answers.values]]
        scored = table.select(copied)
        for name, values in zip(self._names, predicted, strict=True):
            scored = scored.append_column(name, [values])
        return scored


def to_csv(table: pa.Table, header: bool) -> bytes:
    """Return a chunk as lines of a CSV file, with cells as they were written.

    Args:
        table: The chunk.
        header: True if the lines begin with the names of the columns.
    """
    import pandas as pd
    import pyarrow as pa

    columns = zip(table.column_names, table.columns, strict=True)
    cells = {name: cell.to_numpy() if pa.types.is_float32(cell.type) else cell_texts(cell) for name, cell in columns}
    return pd.DataFrame(cells).to_csv(index=False, header=header).encode()
