"""Encoding of columns as float32: the one way from cells to a model's input, for training and for predictions.

Numbers and integers stay numbers. A boolean is 1 or 0, a category its index, a date its days since 1970-01-01 in UTC.
A missing cell is NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.column_settings import DROP, as_yaml
from workloads.ml.data.columns import (
    Column,
    ColumnType,
    are_booleans,
    cast_numbers,
    is_plain,
    microseconds,
    name_key,
    parse_number,
    text_cells,
)
from workloads.ml.data.missing_cells import with_nulls
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.float32]
"""[rows, features]; float32 from the start, because the exported model computes in float32."""
Exact = NDArray[np.float64]
"""[rows], the encoded values of one column before they are rounded to float32."""
DAY_MICROSECONDS = 86_400_000_000
LARGEST_WHOLE = 1 << 53
"""Integers beyond it may already be rounded."""
SHOWN_CATEGORIES = 20
EXPECTED = {
    ColumnType.NUMBER: "a number",
    ColumnType.INTEGER: "an integer that float32 holds exactly",
    ColumnType.BOOLEAN: "true or false",
    ColumnType.DATE: "a date such as 2024-02-29 or 2024-02-29T12:30:00Z",
}


class ColumnSchema(TypedDict):
    """The name and type of a feature; a key that is absent is false or empty.

    `categories` are in the order of their indices. `missing_texts` are texts that count as an empty cell.
    """

    name: str
    type: NotRequired[str]
    missing: NotRequired[bool]
    missing_texts: NotRequired[list[str]]
    categories: NotRequired[list[str]]
    unknown: NotRequired[bool]


def allows_nan(schema: ColumnSchema) -> bool:
    """Return True if an encoded value of the feature may be NaN."""
    return schema.get("missing", False) or schema.get("unknown", False)


def find_columns(table: pa.Table, names: Sequence[str]) -> list[str | None]:
    """Return the column of each name, None for a name without one; case and punctuation of the names may differ."""
    by_key = {name_key(column): column for column in table.column_names}
    return [by_key.get(name_key(name)) for name in names]


def encode_rows(table: pa.Table, features: Sequence[ColumnSchema], decimal: str = ".", first_row: int = 0) -> Rows:
    """Return the features of a table as rows of numbers.

    Args:
        table: The table, or a chunk of one.
        features: The features in order.
        decimal: The decimal point of text cells.
        first_row: Index of the chunk's first row in the file, for errors.

    Raises:
        StepError: A column is missing, or a cell does not fit the type of its column.
    """
    names = [feature["name"] for feature in features]
    columns = find_columns(table, names)
    if missing := [name for name, column in zip(names, columns, strict=True) if column is None]:
        raise StepError(f"there is no column {', '.join(missing)}; the columns are: {', '.join(table.column_names)}")
    rows = np.empty((table.num_rows, len(features)), dtype=np.float32)
    for index, (feature, column) in enumerate(zip(features, columns, strict=True)):
        rows[:, index] = encode_column(table.column(column), feature, decimal, first_row)
    return rows


def encode_column(column: pa.ChunkedArray, schema: ColumnSchema, decimal: str = ".", first_row: int = 0) -> Column:
    """Return the cells of one column as float32.

    Raises:
        StepError: A cell does not fit the type; it is missing and must not; or its category is not listed.
    """
    return encode_exactly(column, schema, decimal, first_row).astype(np.float32)


def encode_exactly(column: pa.ChunkedArray, schema: ColumnSchema, decimal: str = ".", first_row: int = 0) -> Exact:
    """Return the cells of one column as `encode_column` does, before they are rounded to float32."""
    kind = ColumnType(schema.get("type", ColumnType.NUMBER))
    if not is_plain(column.type):
        raise StepError(f"column {schema['name']}: its cells are of the type {column.type}, which no model reads")
    cells = with_nulls(column, schema.get("missing_texts", ()), decimal, kind)
    if kind is ColumnType.CATEGORY:
        values, invalid = _category_indices(cells, schema)
    elif kind is ColumnType.DATE:
        values, invalid = _days(cells)
    else:
        values, invalid = _numbers(cells, decimal, kind)
    if not schema.get("missing", False):
        invalid |= cells.is_null().to_numpy()
    if invalid.any():
        raise _refusal(column, cells, schema, kind, int(np.flatnonzero(invalid)[0]), first_row)
    return values


def _numbers(cells: pa.ChunkedArray, decimal: str, kind: ColumnType) -> tuple[Exact, NDArray[np.bool_]]:
    """Return the cells as float64, and a mask of those that are present but do not fit the type."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_temporal(cells.type):
        numbers = None
    elif pa.types.is_boolean(cells.type) or pa.types.is_primitive(cells.type) or pa.types.is_decimal(cells.type):
        numbers = pc.cast(cells, pa.float64(), safe=False)
    elif are_booleans(cells):
        numbers = pc.cast(pc.equal(pc.utf8_lower(cells), "true"), pa.float64())
    else:
        numbers = cast_numbers(cells, decimal)
    if numbers is None:
        values = np.array([parse_number(cell, decimal) for cell in cells.to_pylist()])
    else:
        values = numbers.to_numpy()
    exact = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        rounded = exact.astype(np.float32)
    invalid = ~np.isfinite(rounded)
    if kind is ColumnType.BOOLEAN:
        invalid |= (exact != 0) & (exact != 1)
    if kind is ColumnType.INTEGER:
        invalid |= (exact != np.floor(exact)) | (exact != rounded) | (np.abs(exact) > LARGEST_WHOLE)
    return exact, invalid & ~cells.is_null().to_numpy()


def _category_indices(cells: pa.ChunkedArray, schema: ColumnSchema) -> tuple[Exact, NDArray[np.bool_]]:
    """Return the index of each category, and a mask of the cells whose category is refused."""
    import pyarrow as pa
    import pyarrow.compute as pc

    indices = pc.index_in(text_cells(cells), value_set=pa.array(schema["categories"], pa.string()), skip_nulls=True)
    values = pc.cast(indices, pa.float64()).to_numpy()
    unlisted = np.isnan(values) & ~cells.is_null().to_numpy()
    return values, unlisted & (not schema.get("unknown", False))


def _days(cells: pa.ChunkedArray) -> tuple[Exact, NDArray[np.bool_]]:
    """Return the days since 1970-01-01 in UTC, and a mask of the cells that are present but no date."""
    import pyarrow as pa
    import pyarrow.compute as pc

    empty = cells.is_null().to_numpy()
    moments = microseconds(cells)
    if moments is None:
        return np.full(len(cells), np.nan), ~empty
    values = pc.cast(moments, pa.float64(), safe=False).to_numpy() / DAY_MICROSECONDS
    return values, np.isnan(values) & ~empty


def _refusal(
    column: pa.ChunkedArray, cells: pa.ChunkedArray, schema: ColumnSchema, kind: ColumnType, row: int, first_row: int
) -> StepError:
    name, written = schema["name"], column[row].as_py()
    place = f"column {name}, row {first_row + row + 1}: "
    if not cells[row].is_valid:
        found = "empty" if written is None or not str(written).strip() else f"{str(written)!r} means a missing value"
        return StepError(f"{place}{found}; {missing_remedy(name, kind, schema)}")
    found = repr(str(written))
    if kind is ColumnType.CATEGORY:
        shown = ", ".join(schema["categories"][:SHOWN_CATEGORIES])
        more = len(schema["categories"]) - SHOWN_CATEGORIES
        others = f" and {more} more" if more > 0 else ""
        return StepError(f"{place}{found} is not one of the categories {shown}{others}")
    return StepError(f"{place}{found}; the column is of type {kind}, so each cell must be {EXPECTED[kind]}")


def missing_remedy(name: str, kind: ColumnType, other_keys: Mapping[str, Any]) -> str:
    """Return what to write in `columns` so that cells of the column may be missing."""
    texts = {"missing_texts": listed} if (listed := other_keys.get("missing_texts")) else {}
    allowed = as_yaml(name, {"type": kind, "missing": True, **texts})
    dropped = as_yaml(name, {"missing": DROP, **texts})
    return f"to allow that, train with `columns: {allowed}`; to leave out such rows, `{dropped}`"
