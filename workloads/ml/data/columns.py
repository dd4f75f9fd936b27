"""Columns of a table: their names, their cells and the types that the cells make certain."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Column = NDArray[np.float32]
"""[rows], the encoded values of one feature."""
IGNORED_IN_NAMES = frozenset("_.-/()[]")
DATE = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
BOOLEANS = ("true", "false")
MOST_CATEGORIES = 100
"""A column of text with more distinct values is text, not a category."""


class ColumnType(StrEnum):
    """The type of a column; a model can be trained on all of them but text."""

    NUMBER = "number"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    CATEGORY = "category"
    DATE = "date"
    TEXT = "text"


def name_key(name: str) -> str:
    """Return the name without case, spaces and punctuation: `Sepal.Length` and `sepal_length` have the same key."""
    key = "".join(letter for letter in name.casefold() if not (letter.isspace() or letter in IGNORED_IN_NAMES))
    return key or name


def native_type(kind: pa.DataType) -> ColumnType | None:
    """Return the type that a file gives a column, None for texts."""
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return ColumnType.BOOLEAN
    if pa.types.is_integer(kind):
        return ColumnType.INTEGER
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return ColumnType.NUMBER
    return ColumnType.DATE if pa.types.is_temporal(kind) else None


def with_nulls(column: pa.ChunkedArray, missing_texts: Sequence[str] = ()) -> pa.ChunkedArray:
    """Return the column with null for each missing cell: empty, not a number, or one of the texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers = pa.array([parse_number(text, ".") for text in missing_texts], pa.float64())
        missing = pc.or_(pc.is_nan(column), pc.is_in(pc.cast(column, pa.float64(), safe=False), value_set=numbers))
        return pc.if_else(missing, None, column) if pc.any(missing).as_py() else column
    if not _is_text(column.type):
        return column
    cells = text_cells(column)
    missing = pc.is_in(cells, value_set=pa.array(["", *missing_texts], pa.string()))
    return pc.if_else(missing, None, cells) if pc.any(missing).as_py() else cells


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def text_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the cells as text without surrounding spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def cell_texts(column: pa.ChunkedArray) -> list[str | None]:
    """Return the cells as text, as they were written; an empty cell is None."""
    return [None if cell is None else str(cell) for cell in column.to_pylist()]


def are_booleans(cells: pa.ChunkedArray) -> bool:
    """Return True if all cells of text are `true` or `false`, in any case of letters."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.all(pc.is_in(pc.utf8_lower(cells.drop_null()), value_set=pa.array(BOOLEANS))).as_py())


def cast_numbers(cells: Any, decimal: str) -> Any | None:
    """Return cells of text as float64, None if a cell is not a number."""
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


def parse_number(cell: Any, decimal: str) -> float:
    """Return a cell of text as a number, NaN if it is none."""
    if not isinstance(cell, str) or "_" in cell or (decimal == "," and "." in cell):
        return float("nan")
    try:
        return float(cell.replace(decimal, "."))
    except ValueError:
        return float("nan")
