"""Columns of a file that a training reads: its targets, and cells of types that a model can read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from workloads.ml.data.column_settings import IGNORE, NO_SETTING, ColumnSettings, as_yaml
from workloads.ml.data.columns import ColumnType, is_plain
from workloads.ml.data.encoding import find_columns
from workloads.ml.data.missing_cells import check_missing_texts
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa


def find_targets(table: pa.Table, wanted: Sequence[str], task: Task | None) -> list[str]:
    """Return the columns of the targets as the file names them.

    Raises:
        StepError: A target does not exist or is named twice, or several targets have no regression.
    """
    found = []
    for name, column in zip(wanted, find_columns(table, wanted), strict=True):
        if column is None:
            raise StepError(f"target: there is no column {name!r}; the columns are: {', '.join(table.column_names)}")
        if column in found:
            raise StepError(f"target: column {column} is named twice")
        found.append(column)
    if len(found) > 1 and task is not Task.REGRESSION:
        raise StepError(f"target: {', '.join(wanted)}; several targets need `task: regression`")
    return found


def check_target_settings(settings: ColumnSettings, targets: Sequence[str], task: Task | None) -> None:
    """Require a target of classes where the settings say so.

    Raises:
        StepError: The task is no classification.
    """
    for name in targets:
        kind = settings.get(name, NO_SETTING).type
        if kind and task not in (None, Task.CLASSIFICATION):
            raise StepError(
                f"columns.{name}: {kind}; with `task: {task}`, the target holds no classes; remove the type"
            )


def require_readable_cells(schema: pa.Schema, settings: ColumnSettings, decimal: str) -> None:
    """Require columns of numbers, texts, booleans and dates, and texts for missing values that these may have.

    Args:
        schema: The columns of a file that are read.
        settings: What the user says about them.
        decimal: Decimal mark of cells of text.

    Raises:
        StepError: A column of a Parquet file has lists, structures, bytes, periods or durations, or a text is
            misspelled.
    """
    import pyarrow as pa

    for column in schema:
        setting = settings.get(column.name, NO_SETTING)
        check_missing_texts(column.name, setting.missing_texts, column.type, decimal)
        found = f"column {column.name}: its cells are of the type {column.type}"
        ignore = f"leave it out with `columns: {as_yaml(column.name, IGNORE)}`"
        if not is_plain(column.type):
            raise StepError(f"{found}, which no model reads; {ignore}, or write one column for each value")
        is_time = pa.types.is_time(column.type) or pa.types.is_duration(column.type)
        if is_time and setting.kind is not ColumnType.CATEGORY:
            raise StepError(
                f"{found}, which is neither a number nor a date; write them as numbers, such as seconds, or {ignore}"
            )
