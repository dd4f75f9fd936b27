"""Missing cells of a column: empty, not a number, or equal to a text that the user lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.ml.data.columns import (
    DATE,
    ColumnType,
    cast_numbers,
    is_text,
    microseconds,
    native_type,
    parse_number,
    text_cells,
)
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
OTHER_DATE = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")
MISSING_WORDS = ("na", "n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown")
"""Texts that often mean an empty cell, in small letters."""


def with_nulls(
    column: pa.ChunkedArray, missing_texts: Sequence[str] = (), decimal: str = ".", kind: ColumnType | None = None
) -> pa.ChunkedArray:
    """Return the column with null for each missing cell; cells of text have no surrounding spaces then.

    A number equals a listed text by its value, a date by its moment, any other cell by its spelling.

    Args:
        column: The cells.
        missing_texts: Texts that count as an empty cell.
        decimal: Decimal mark of cells of text.
        kind: Type of the column; texts of a category have no values. None if it is uncertain.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_text(column.type):
        cells = text_cells(column)
        cells = _null_where(cells, pc.is_in(cells, value_set=pa.array(["", *missing_texts], pa.string())))
        if not missing_texts or kind is ColumnType.CATEGORY:
            return cells
        cells = _null_where(cells, _are_numbers_of(cells, missing_texts, decimal))
        return _null_where(cells, _are_dates_of(cells, missing_texts))
    native = native_type(column.type)
    if native in (ColumnType.NUMBER, ColumnType.INTEGER):
        values = pc.cast(column, pa.float64(), safe=False)
        missing = pc.is_in(values, value_set=_numbers_of(missing_texts, decimal))
        return _null_where(column, pc.or_(pc.is_nan(values), missing))
    return _null_where(column, _are_dates_of(column, missing_texts)) if native is ColumnType.DATE else column


def check_missing_texts(name: str, missing_texts: Sequence[str], kind: pa.DataType, decimal: str) -> None:
    """Refuse texts of a number or a date that a column of a Parquet file cannot have, because of their spelling.

    Raises:
        StepError: A number has another decimal mark, or a date another order.
    """
    native = native_type(kind)
    for text in missing_texts:
        place = f"columns.{name}.missing_texts: {text!r}; the cells of the file are of the type {kind}"
        if native in (ColumnType.NUMBER, ColumnType.INTEGER) and DECIMAL_COMMA.fullmatch(text) and decimal != ",":
            raise StepError(f"{place}; write the number as {text.replace(',', '.')}")
        if native is ColumnType.DATE and OTHER_DATE.match(text) and not re.match(DATE, text):
            raise StepError(f"{place}; write the date as 2024-02-29")


def spellings(missing_texts: Sequence[str], kind: ColumnType, decimal: str) -> list[str]:
    """Return the texts, with a decimal point beside a decimal comma: a model has no other decimal mark."""
    listed = list(missing_texts)
    if decimal == "," and kind in (ColumnType.NUMBER, ColumnType.INTEGER):
        listed += [text.replace(",", ".") for text in missing_texts if DECIMAL_COMMA.fullmatch(text)]
    return list(dict.fromkeys(listed))


def _null_where(cells: pa.ChunkedArray, mask: Any) -> pa.ChunkedArray:
    import pyarrow.compute as pc

    return pc.if_else(mask, None, cells) if pc.any(mask).as_py() else cells


def _numbers_of(texts: Sequence[str], decimal: str) -> pa.Array:
    """Return the numbers among texts, each also as float32 holds it."""
    import pyarrow as pa

    numbers = np.array([parse_number(text, mark) for text in texts for mark in {".", decimal}], np.float64)
    numbers = numbers[~np.isnan(numbers)]
    with np.errstate(over="ignore"):
        return pa.array(np.concatenate([numbers, numbers.astype(np.float32).astype(np.float64)]))


def _are_numbers_of(cells: pa.ChunkedArray, texts: Sequence[str], decimal: str) -> Any:
    """Return a mask of the cells of text that are one of the numbers among the texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    numbers = _numbers_of(texts, decimal)
    values = cast_numbers(cells, decimal) if len(numbers) else pa.nulls(len(cells), pa.float64())
    if values is not None:
        return pc.is_in(values, value_set=numbers)
    encoded = cells.combine_chunks().dictionary_encode()
    parsed = [parse_number(text, decimal) for text in encoded.dictionary.to_pylist()]
    among = pc.is_in(pa.array(parsed, pa.float64()), value_set=numbers)
    return pc.fill_null(among.take(encoded.indices), False)


def _are_dates_of(cells: pa.ChunkedArray, texts: Sequence[str]) -> Any:
    """Return a mask of the cells that are one of the dates among the texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    listed = microseconds(pa.chunked_array([pa.array(texts, pa.string())]))
    moments = microseconds(cells) if listed is not None and listed.null_count < len(listed) else None
    if listed is None or moments is None:
        return pa.array(np.zeros(len(cells), np.bool_))
    return pc.is_in(moments, value_set=pc.drop_null(listed).combine_chunks())
