"""Columns of a table: their names, their cells and the types that the cells make certain."""

from __future__ import annotations

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


def is_text(kind: Any) -> bool:
    """Return True for cells that are read as text; without a type, all are empty."""
    import pyarrow as pa

    kinds = pa.types
    readers = (kinds.is_string, kinds.is_large_string, kinds.is_string_view, kinds.is_dictionary, kinds.is_null)
    return any(is_kind(kind) for is_kind in readers)


def is_plain(kind: pa.DataType) -> bool:
    """Return True for cells that a model can read: numbers, texts, booleans and dates."""
    import pyarrow as pa

    kinds = pa.types
    refused = (
        kinds.is_nested,
        kinds.is_binary,
        kinds.is_large_binary,
        kinds.is_binary_view,
        kinds.is_fixed_size_binary,
    )
    return not isinstance(kind, pa.BaseExtensionType) and not any(is_kind(kind) for is_kind in refused)


def text_cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the cells as text without surrounding spaces."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def cell_texts(column: pa.ChunkedArray) -> list[str | None]:
    """Return the cells as text, as they were written; an empty cell is None."""
    return [None if cell is None else str(cell) for cell in column.to_pylist()]


def microseconds(cells: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Return the moments of dates since 1970-01-01 in UTC, null for a text that is no date; None if the type has none.

    Digits after the microseconds are left out.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_temporal(cells.type):
        moments = cells
    else:
        texts = pc.replace_substring_regex(text_cells(cells), r"(\.\d{6})\d+", r"\1")
        written = pc.fill_null(pc.match_substring_regex(texts, DATE), False).to_numpy().astype(bool)
        parsed = pd.to_datetime(texts.to_pandas().where(written), format="ISO8601", utc=True, errors="coerce")
        moments = pa.chunked_array([pa.Array.from_pandas(parsed.dt.tz_localize(None))])
    try:
        return pc.cast(pc.cast(moments, pa.timestamp("us", getattr(moments.type, "tz", None)), safe=False), pa.int64())
    except pa.ArrowException:  # for example a time of the day without a date
        return None


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
    """Return a cell of text as a number, NaN if it is none; as for `cast_numbers`, digits are those of ASCII."""
    if not isinstance(cell, str) or not cell.isascii() or "_" in cell or (decimal == "," and "." in cell):
        return float("nan")
    try:
        return float(cell.replace(decimal, "."))
    except ValueError:
        return float("nan")
