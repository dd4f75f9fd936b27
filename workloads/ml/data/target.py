"""Targets of a table: classes, or numbers to predict."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import ColumnType, cell_texts, parse_number
from workloads.ml.data.encoding import ColumnSchema, encode_column
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

Labels = NDArray[np.int64]
"""[rows], index into the classes."""
Values = NDArray[np.float64]
"""[rows] of one target, or [rows, targets]."""
MINIMUM_CLASS_ROWS = 5
"""Least rows of a class: the test part takes one row in five, and both parts need each class."""
ANOMALY_CLASSES = ["normal", "anomaly"]
ANOMALY_TEXTS = {"false": 0, "0": 0, "true": 1, "1": 1}
"""Class index of the cells of an anomaly detection's target, in lower case."""
MINIMUM_ROWS = 10
"""Least rows of a regression."""
MOST_NUMERIC_CLASSES = 20
"""With more distinct numbers, the target is a class or a number to predict, and the user decides."""
BOTH_READINGS = (
    "set `task: regression` to predict the number, or `task: classification` to predict one of these values as a class"
)


class Task(StrEnum):
    """The kind of a prediction."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    ANOMALY = "anomaly"


def parse_task(task: str) -> Task | None:
    """Return the task of a pipeline's parameter, None if the data decide.

    Raises:
        StepError: The text is no task.
    """
    if task and task not in list(Task):
        raise StepError(f"task: {task!r}; it must be {', '.join(Task)}, or empty: a target of texts holds classes")
    return Task(task) if task else None


def encode_targets(
    names: Sequence[str], columns: Sequence[pa.ChunkedArray], task: Task | None, decimal: str
) -> tuple[list[str], Labels | Values]:
    """Return the classes, none for a regression, and the labels of the rows.

    Raises:
        StepError: The cells do not fit the task.
    """
    if task is Task.REGRESSION:
        values = [encode_values(name, column, decimal) for name, column in zip(names, columns, strict=True)]
        return [], values[0] if len(values) == 1 else np.column_stack(values)
    if task is Task.ANOMALY:
        return ANOMALY_CLASSES, encode_anomalies(names[0], columns[0])
    return encode_classes(names[0], columns[0], task, decimal)


def encode_classes(target: str, column: pa.ChunkedArray, task: Task | None, decimal: str) -> tuple[list[str], Labels]:
    """Return the sorted classes and the class index of each cell; a class is the text of the cell.

    Raises:
        StepError: A cell is empty, a class has too few rows, or the target may also be a number to predict.
    """
    cells = cell_texts(column)
    if None in cells:
        raise StepError(
            f"target: column {target}, row {cells.index(None) + 1}: empty; every row needs a class; "
            f"to leave out such rows, write `columns: {{{target}: {{missing: drop}}}}`"
        )
    texts = [str(cell) for cell in cells]
    classes, numeric = _sorted_classes(set(texts), decimal)
    if task is None and numeric:
        _check_numeric_classes(target, classes, decimal)
    if len(classes) < 2:
        raise StepError(f"target: column {target} has one class only, {classes[0]}; at least two are needed")
    index = {name: number for number, name in enumerate(classes)}
    labels = np.fromiter((index[text] for text in texts), dtype=np.int64, count=len(texts))
    counts = np.bincount(labels)
    if counts.min() < MINIMUM_CLASS_ROWS:
        rarest = classes[int(counts.argmin())]
        remedy = "; to predict the number instead, set `task: regression`" if numeric and task is None else ""
        raise StepError(
            f"target: class {rarest} of column {target} has {counts.min()} of {len(labels)} rows; "
            f"each class needs at least {MINIMUM_CLASS_ROWS}{remedy}"
        )
    return classes, labels


def encode_values(target: str, column: pa.ChunkedArray, decimal: str) -> Values:
    """Return the numbers of a target.

    Raises:
        StepError: A cell is no finite number, there are too few rows, or all numbers are equal.
    """
    if column.null_count:
        row = cell_texts(column).index(None) + 1
        raise StepError(
            f"target: column {target}, row {row}: empty; every row needs a number; "
            f"to leave out such rows, write `columns: {{{target}: {{missing: drop}}}}`"
        )
    values = encode_column(column, ColumnSchema(name=target, type=ColumnType.NUMBER), decimal).astype(np.float64)
    if len(values) < MINIMUM_ROWS:
        raise StepError(f"target: column {target} has {len(values)} rows; a regression needs at least {MINIMUM_ROWS}")
    if np.ptp(values) == 0:
        raise StepError(f"target: all numbers of column {target} are {values[0]:g}; there is nothing to predict")
    return values


def encode_anomalies(target: str, column: pa.ChunkedArray) -> Labels:
    """Return 1 for each row that is an anomaly, 0 for each normal one.

    Raises:
        StepError: A cell is neither true or 1, nor false or 0, or there are too few rows of a kind.
    """
    cells = [str(cell).lower() if cell is not None else "" for cell in cell_texts(column)]
    for row, cell in enumerate(cells, 1):
        if cell not in ANOMALY_TEXTS:
            raise StepError(
                f"target: column {target}, row {row}: {cell or 'empty'}; with `task: anomaly`, a cell must be true or "
                "1 for an anomaly, false or 0 for a normal row"
            )
    labels = np.fromiter((ANOMALY_TEXTS[cell] for cell in cells), dtype=np.int64, count=len(cells))
    for kind, count in zip(ANOMALY_CLASSES, np.bincount(labels, minlength=2), strict=True):
        if count < MINIMUM_CLASS_ROWS:
            raise StepError(
                f"target: column {target} marks {count} of {len(labels)} rows as {kind}; at least "
                f"{MINIMUM_CLASS_ROWS} are needed: the detector is trained on normal rows, and tested on both"
            )
    return labels


def _check_numeric_classes(target: str, classes: list[str], decimal: str) -> None:
    """Refuse classes that are numbers with a fraction, or many integers."""
    fraction = next((name for name in classes if not parse_number(name, decimal).is_integer()), None)
    if fraction is not None or len(classes) > MOST_NUMERIC_CLASSES:
        example = fraction or classes[-1]
        raise StepError(
            f"target: column {target} holds {len(classes)} different numbers, such as {example}; {BOTH_READINGS}"
        )


def _sorted_classes(classes: set[str], decimal: str) -> tuple[list[str], bool]:
    """Return the classes, and whether all are numbers: numbers in order of their values, texts in order of the text."""
    values = {name: parse_number(name, decimal) for name in classes}
    if not all(np.isfinite(value) for value in values.values()):
        return sorted(classes), False
    return sorted(classes, key=lambda name: (values[name], name)), True
