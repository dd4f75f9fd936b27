"""The schema of a table: the type of each feature is certain from its cells, or the user says it, or it is refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.ml.data.column_settings import IGNORE, NO_SETTING, ColumnSetting, ColumnSettings
from workloads.ml.data.columns import ColumnType, cast_numbers, column_type, parse_number, text_cells, with_nulls
from workloads.ml.data.encoding import ColumnSchema, Rows, encode_column
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_EXACT = 1 << 24
"""Integers beyond it lose digits in float32."""
LEADING_ZERO = r"^[+-]?0\d"
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
OTHER_DATE = r"^\d{1,4}[./-]\d{1,2}[./-]\d{1,4}"
MISSING_WORDS = ("na", "n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown")
"""Texts that often mean an empty cell, in small letters."""
SHOWN = 5
SHOWN_ERRORS = 20


def read_features(
    table: pa.Table, names: Sequence[str], settings: ColumnSettings, decimal: str
) -> tuple[list[ColumnSchema], Rows, list[str]]:
    """Return the schema of the features, their encoded rows, and a sentence for each decision.

    Args:
        table: The data; cells of a CSV file are text.
        names: Columns that are not targets.
        settings: Types and missing values as the user states them.
        decimal: Decimal mark of the numbers.

    Raises:
        StepError: The type of a column is uncertain, or a cell does not fit it. The message has a line for each such
            column, with the text to write in `columns`.
    """
    schemas, columns, decisions, errors = [], [], [], []
    for name in names:
        setting = settings.get(name, NO_SETTING)
        if setting.type == IGNORE:
            decisions.append(f"column {name}: ignored, as columns says")
            continue
        try:
            schema = _decide(name, table.column(name), setting, decimal)
            columns.append(encode_column(table.column(name), schema, decimal))
        except StepError as error:
            errors.append(str(error))
            continue
        schemas.append(schema)
        decisions += _decisions(schema, said=bool(setting.type))
    if errors:
        more = [f"and {len(errors) - SHOWN_ERRORS} more columns"] if len(errors) > SHOWN_ERRORS else []
        raise StepError("\n".join(errors[:SHOWN_ERRORS] + more))
    if not schemas:
        raise StepError("columns: every column but the target is ignored; there must be a feature")
    return schemas, np.column_stack(columns), decisions


def _decide(name: str, column: pa.ChunkedArray, setting: ColumnSetting, decimal: str) -> ColumnSchema:
    cells = with_nulls(column, setting.missing_texts)
    kind = ColumnType(setting.type) if setting.type else _detect(name, cells, decimal)
    if kind is ColumnType.INTEGER:
        _check_exact(name, cells)
    return _schema(name, kind, cells, setting)


def _schema(name: str, kind: ColumnType, cells: Any, setting: ColumnSetting) -> ColumnSchema:
    schema = ColumnSchema(name=name, type=str(kind))
    if setting.missing is True:
        schema["missing"] = True
    if setting.missing_texts:
        schema["missing_texts"] = list(setting.missing_texts)
    if kind is ColumnType.CATEGORY:
        found = sorted(text_cells(cells).drop_null().unique().to_pylist())
        schema["categories"] = list(setting.categories) or found
        if not found:
            raise StepError(f"column {name}: all cells are empty; leave it out with `columns: {{{name}: ignore}}`")
    if setting.unknown:
        schema["unknown"] = True
    return schema


def _decisions(schema: ColumnSchema, *, said: bool) -> list[str]:
    reason = "as columns says" if said else "because of its cells"
    if schema["type"] == ColumnType.CATEGORY:
        categories = schema["categories"]
        shown = ", ".join(categories[:SHOWN]) + (", ..." if len(categories) > SHOWN else "")
        return [f"column {schema['name']}: {len(categories)} categories, {reason}: {shown}"]
    if schema["type"] == ColumnType.DATE:
        return [f"column {schema['name']}: dates, {reason}; the model receives days since 1970-01-01"]
    return [f"column {schema['name']}: {schema['type']}, {reason}"] if said else []


def _detect(name: str, cells: Any, decimal: str) -> ColumnType:
    """Return the type that the cells make certain.

    Raises:
        StepError: Another reading is possible.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ignore = f"leave the column out with `columns: {{{name}: ignore}}`"
    if not len(cells.drop_null()):
        raise StepError(f"column {name}: all cells are empty; {ignore}")
    kind = column_type(cells, decimal)
    if kind is ColumnType.INTEGER and pa.types.is_string(cells.type):
        row = _first(pc.match_substring_regex(cells, LEADING_ZERO))
        if row is not None:
            raise StepError(
                f"column {name}, row {row + 1}: {cells[row].as_py()!r} is a code or an integer with leading zeros; "
                f"write `columns: {{{name}: category}}`, `{{{name}: integer}}`, or {ignore}"
            )
    if kind is ColumnType.CATEGORY:
        _check_category(name, cells, decimal)
    if kind is ColumnType.TEXT:
        _check_numbers(name, cells, decimal)
        raise _text_refusal(name, cells, ignore)
    return kind


def _check_exact(name: str, cells: Any) -> None:
    """Refuse integers that float32 rounds, and cells that are no integers are left to the encoding."""
    import pyarrow as pa

    numbers = cast_numbers(cells, ".") if pa.types.is_string(cells.type) else cells
    if numbers is None:
        return
    values = np.abs(np.nan_to_num(numbers.cast(pa.float64(), safe=False).to_numpy()))
    large = np.flatnonzero(values > LARGEST_EXACT)
    if len(large):
        raise StepError(
            f"column {name}, row {large[0] + 1}: {cells[int(large[0])].as_py()} is larger than 2^24, and models "
            f"compute with 24 bits; if it is a number, round it with `columns: {{{name}: number}}`; if it is a "
            f"code, write `{{{name}: category}}`, or leave it out with `{{{name}: ignore}}`"
        )


def _check_category(name: str, cells: Any, decimal: str) -> None:
    """Refuse a column of few texts if some look like numbers, or like a missing value."""
    import pyarrow as pa
    import pyarrow.compute as pc

    _check_numbers(name, cells, decimal)
    lower = pc.utf8_lower(text_cells(cells))
    row = _first(pc.match_substring_regex(lower, OTHER_DATE))
    if row is not None:
        raise StepError(
            f"column {name}, row {row + 1}: {cells[row].as_py()!r} may be a date; write dates as 2024-02-29, or "
            f"use each value as a category with `columns: {{{name}: category}}`"
        )
    row = _first(pc.is_in(lower, value_set=pa.array(MISSING_WORDS)))
    if row is not None:
        word = cells[row].as_py()
        raise StepError(
            f"column {name}, row {row + 1}: {word!r} is a category or a missing value; write "
            f"`columns: {{{name}: {{type: category, missing: true, missing_texts: ['{word}']}}}}`, or "
            f"`{{{name}: category}}`"
        )


def _check_numbers(name: str, cells: Any, decimal: str) -> None:
    """Refuse a column in which some cells are numbers and others are not."""
    numeric = np.array([np.isfinite(parse_number(cell, decimal)) for cell in text_cells(cells).to_pylist()])
    present = cells.is_valid().to_numpy()
    row = int(np.flatnonzero(present & ~numeric)[0])
    cell = str(cells[row].as_py())
    if DECIMAL_COMMA.fullmatch(cell) and decimal != ",":
        remedy = "if the comma is a decimal comma, set csv_format.decimal to ','"
    elif numeric.any() and cell.casefold() in MISSING_WORDS:
        remedy = f"if it is a missing value, write `columns: {{{name}: {{missing: true, missing_texts: ['{cell}']}}}}`"
    elif numeric.any():
        remedy = f"correct the cell; if the column holds texts, write `columns: {{{name}: category}}`"
    else:
        return
    others = f" {int(numeric.sum())} of {int(present.sum())} cells are numbers, this one is not;"
    raise StepError(f"column {name}, row {row + 1}: {cell!r};{others if numeric.any() else ''} {remedy}")


def _text_refusal(name: str, cells: Any, ignore: str) -> StepError:
    import pyarrow.compute as pc

    distinct, rows = pc.count_distinct(cells).as_py(), len(cells.drop_null())
    row = _first(cells.is_valid()) or 0
    cell = str(cells[row].as_py())
    place = f"column {name}, row {row + 1}: {cell!r}"
    if re.match(OTHER_DATE, cell):
        return StepError(f"{place} may be a date; write dates as 2024-02-29, or {ignore}")
    return StepError(
        f"{place}; the column holds text with {distinct} different values in {rows} rows; {ignore}, "
        f"or use each value as a category with `{{{name}: category}}`"
    )


def _first(mask: Any) -> int | None:
    """Return the index of the first true value of a mask, None without a true value."""
    import pyarrow.compute as pc

    index = int(pc.index(mask, True).as_py())
    return index if index >= 0 else None
