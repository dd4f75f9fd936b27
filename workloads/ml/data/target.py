"""Targets of a table: classes, or numbers to predict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.column_schema import Place
from workloads.ml.data.column_settings import DROP, as_yaml
from workloads.ml.data.columns import ColumnType
from workloads.ml.data.encoding import ColumnSchema, encode_exactly
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

Labels = NDArray[np.int64]
"""[rows], index into the classes."""
Values = NDArray[np.float64]
"""[rows] of one target, or [rows, targets]."""
MINIMUM_ROWS = 10
"""Least rows of a regression."""
MOST_ROUNDING = 1e-4
"""Most by which float32, in which models compute, may round a number: a share of the target's standard deviation."""


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


@dataclass
class ValueFacts:
    """Facts about the numbers that a regression predicts, gathered chunk by chunk.

    Args:
        rows: Number of rows.
        least, largest, mean, squares: The least and the largest number of each target, the mean, and the sum of the
            squares of the distances from it.
    """

    rows: int = 0
    least: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    largest: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    mean: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def observe(self, values: Values) -> None:
        """Add the numbers of the next rows [rows, targets]."""
        mean = values.mean(axis=0)
        squares = ((values - mean) ** 2).sum(axis=0)
        self.merge(ValueFacts(len(values), values.min(axis=0), values.max(axis=0), mean, squares))

    def merge(self, later: ValueFacts) -> None:
        """Add the facts about the rows that follow."""
        if not later.rows:
            return
        if not self.rows:
            self.__dict__.update(later.__dict__)
            return
        rows, shift = self.rows + later.rows, later.mean - self.mean
        self.least, self.largest = np.minimum(self.least, later.least), np.maximum(self.largest, later.largest)
        self.mean = self.mean + shift * later.rows / rows
        self.squares = self.squares + later.squares + shift**2 * self.rows * later.rows / rows
        self.rows = rows

    def scales(self) -> list[float]:
        """Return the standard deviation of each target."""
        return [float(each) for each in np.sqrt(self.squares / self.rows)]


def check_numbers(targets: Sequence[str], facts: ValueFacts) -> None:
    """Require enough rows of a regression, and numbers that differ, also in float32.

    Raises:
        StepError: There are too few rows, all numbers of a target are equal, or float32 would round them too much.
    """
    for index, target in enumerate(targets):
        if facts.rows < MINIMUM_ROWS:
            raise StepError(
                f"target: column {target} has {facts.rows} rows; a regression needs at least {MINIMUM_ROWS}"
            )
        if facts.least[index] == facts.largest[index]:
            number = f"{facts.least[index]:g}"
            raise StepError(f"target: all numbers of column {target} are {number}; there is nothing to predict")
        largest, scale = max(abs(facts.least[index]), abs(facts.largest[index])), facts.scales()[index]
        rounding = float(np.spacing(np.float32(largest))) / 2
        if rounding > MOST_ROUNDING * scale:
            raise StepError(
                f"target: the numbers of column {target} are up to {largest:g} with a standard deviation of "
                f"{scale:g}; models compute with 24 bits, and numbers would be rounded by up to {rounding:g}; subtract "
                "a number near their mean from all"
            )


def encode_values(target: str, column: pa.ChunkedArray, decimal: str, first_row: int, place: Place) -> Values:
    """Return the numbers of a target.

    Args:
        target: Name of the target.
        column: Cells of the target.
        decimal: Decimal mark of cells of text.
        first_row: Index of the first cell, for errors.
        place: Returns the text for a column and a row.

    Raises:
        StepError: A cell is no finite number.
    """
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise StepError(
            f"target: {place(target, first_row + row)}: empty; every row needs a number; "
            f"to leave out such rows, write `columns: {as_yaml(target, {'missing': DROP})}`"
        )
    schema = ColumnSchema(name=target, type=ColumnType.NUMBER)
    return encode_exactly(column, schema, decimal, first_row)
