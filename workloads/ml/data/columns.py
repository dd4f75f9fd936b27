"""Columns of a table: their types, their numbers and their names."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

Column = NDArray[np.float32]
"""[rows], the values of one feature."""
IGNORED_IN_NAMES = frozenset("_.-/()[]")
DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
BOOLEANS = ("true", "false")
MOST_CATEGORIES = 100
"""A column of text with more distinct values is text, not a category."""
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class ColumnType(StrEnum):
    """The type of a column; a model can be trained on the first three."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"
    TEXT = "text"


FEATURE_TYPES = (ColumnType.NUMBER, ColumnType.INTEGER, ColumnType.BOOLEAN)


def name_key(name: str) -> str:
    """Return the name without case, spaces and punctuation: `Sepal.Length` and `sepal_length` have the same key."""
    key = "".join(letter for letter in name.casefold() if not (letter.isspace() or letter in IGNORED_IN_NAMES))
    return key or name


def column_type(column: pa.ChunkedArray, decimal: str = ".") -> ColumnType:
    """Return the type that every cell of the column has; empty cells are ignored.

    A column of cells with different types is text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_boolean(kind):
        return ColumnType.BOOLEAN
    if pa.types.is_integer(kind):
        return ColumnType.INTEGER
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnType.NUMBER
    if pa.types.is_temporal(kind):
        return ColumnType.DATE
    cells = _trimmed(column).drop_null()
    if not len(cells):
        return ColumnType.TEXT
    if pc.all(pc.is_in(pc.utf8_lower(cells), value_set=pa.array(BOOLEANS))).as_py():
        return ColumnType.BOOLEAN
    if pc.all(pc.match_substring_regex(cells, r"^[+-]?\d+$")).as_py():
        return ColumnType.INTEGER
    if _cast(cells, decimal) is not None:
        return ColumnType.NUMBER
    if pc.all(pc.match_substring_regex(cells, DATE)).as_py():
        return ColumnType.DATE
    distinct = pc.count_distinct(cells).as_py()
    return ColumnType.CATEGORY if distinct <= min(MOST_CATEGORIES, len(cells) // 2) else ColumnType.TEXT


def to_numbers(name: str, column: pa.ChunkedArray, decimal: str = ".") -> tuple[Column, ColumnType]:
    """Return the column as numbers, and its type; truth values become 1 and 0.

    Raises:
        StepError: A cell is empty, or is not a finite number; or the column holds no numbers at all.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column_type(column, decimal)
    if kind is ColumnType.BOOLEAN:
        cells = column if pa.types.is_boolean(column.type) else pc.equal(pc.utf8_lower(_trimmed(column)), "true")
        numbers = pc.cast(cells, pa.float64())
    elif pa.types.is_temporal(column.type):
        numbers = None
    elif pa.types.is_primitive(column.type) or pa.types.is_decimal(column.type):
        numbers = pc.cast(column, pa.float64())
    else:
        numbers = _cast(_trimmed(column), decimal)
    if numbers is None:
        values = np.array([_number(cell, decimal) for cell in column.to_pylist()])
    else:
        values = numbers.to_numpy()
    with np.errstate(over="ignore"):
        values = np.asarray(values, dtype=np.float64).astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        raise _refusal(name, column, kind, finite)
    return values, kind


def _refusal(name: str, column: pa.ChunkedArray, kind: ColumnType, finite: NDArray[np.bool_]) -> StepError:
    row = int(np.flatnonzero(~finite)[0])
    cell = column[row].as_py()
    found = "empty" if cell is None else repr(str(cell))
    if isinstance(cell, str) and DECIMAL_COMMA.fullmatch(cell.strip()):
        remedy = "; if the comma is a decimal comma, set csv_format.decimal to ','"
    elif not finite.any() and kind not in FEATURE_TYPES:
        remedy = f", and this column is of type {kind}; remove it, or replace it by numbers"
    else:
        remedy = ""
    return StepError(
        f"column {name}, row {row + 1}: {found}; every column but the target holds finite numbers only{remedy}"
    )


def to_text(column: pa.ChunkedArray) -> list[str | None]:
    """Return the cells as text, as they were written; an empty cell is None."""
    return [None if cell is None else str(cell) for cell in column.to_pylist()]


def _trimmed(column: pa.ChunkedArray) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _cast(cells: Any, decimal: str) -> Any | None:
    """Return text cells as float64, None if a cell is not a number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if decimal == ",":
        # A point is then no decimal point: `1.5` must not become 1.5.
        if pc.any(pc.match_substring(cells, ".")).as_py():
            return None
        cells = pc.replace_substring(cells, ",", ".")
    try:
        return pc.cast(cells, pa.float64())
    except pa.ArrowInvalid:
        return None


def _number(cell: Any, decimal: str) -> float:
    if not isinstance(cell, str) or "_" in cell or (decimal == "," and "." in cell):
        return float("nan")
    try:
        return float(cell.replace(decimal, "."))
    except ValueError:
        return float("nan")
