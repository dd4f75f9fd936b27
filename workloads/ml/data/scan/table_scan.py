"""Two passes over the data of a training: facts about all cells decide the schema, then the rows are encoded by it.

Memory does not grow with the rows, because both passes work in chunks. The units of the data are independent in both.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import accumulate, chain
from typing import Any

import numpy as np

from workloads.ml.data.column_schema import decide_features
from workloads.ml.data.column_settings import NO_SETTING
from workloads.ml.data.columns import ColumnType
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import DataFile
from workloads.ml.data.scan.target_classes import ClassFacts, decide_classes, join_numbers
from workloads.ml.data.scan.unit_reader import TablePlan, TableSource, UnitFacts, UnitReader
from workloads.ml.data.table import Table, TableDescription
from workloads.ml.data.table_chunks import Unit, find_units
from workloads.ml.data.target import Task, check_numbers, parse_task
from workloads.ml.errors import StepError

Spread = Callable[[Callable[[Unit], Iterable[Any]], Sequence[Unit]], Iterator[Any]]
"""Yields the results of some work for each unit, in the order of the units."""
SHOWN_ERRORS = 20


def one_by_one(work: Callable[[Unit], Iterable[Any]], units: Sequence[Unit]) -> Iterator[Any]:
    """Do the work for one unit after the other, in this process."""
    return chain.from_iterable(map(work, units))


class TableScan:
    """The schema of a table, and its encoded rows.

    Args:
        source: The data.
        spread: Does the work for the units.

    Attributes:
        description: The schema and the fingerprint.
        decisions: Sentences on what was read from the cells or from the settings.
        class_rows: Number of rows of each class; empty for a regression.

    Raises:
        StepError: The table cannot be used for training.
    """

    def __init__(self, source: TableSource, spread: Spread = one_by_one) -> None:
        self._source, self._reader, self._spread = source, UnitReader(source), spread
        self._units = find_units(source.files, source.csv_format)
        found: list[UnitFacts] = list(spread(self._reader.facts, self._units))
        self._starts = [0, *accumulate(each.rows for each in found)]
        facts = _merge(source, self._units, found)
        classes, spelled = self._decide_target(facts)
        features = [name for name in facts.columns if name not in facts.targets]
        decided = decide_features(features, facts.features, facts.settings, self._place)
        self._features = features
        self._plan = TablePlan(decided, classes, self._rows_in_files())
        dropped = [
            f"column {name}: {count} rows without a value are left out, as columns says"
            for name, count in facts.dropped.items()
        ]
        self.decisions = dropped + spelled + decided.decisions
        digests = [each.digest for each in found if each.digest]
        self.description = TableDescription(
            features=[schema["name"] for schema in decided.schemas],
            columns=decided.schemas,
            task=str(source.task or Task.CLASSIFICATION),
            target=source.targets[0],
            targets=source.targets,
            unit=facts.settings.get(facts.targets[0], NO_SETTING).unit,
            scales=[] if isinstance(facts.target, ClassFacts) else facts.target.scales(),
            classes=classes,
            source=source.address,
            sha256=digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest(),
            rows=facts.rows,
        )
        self.class_rows = (
            [facts.target.counts[name] for name in classes] if isinstance(facts.target, ClassFacts) else []
        )

    def chunks(self) -> Iterator[Table]:
        """Yield the encoded rows in their order, in tables of some rows.

        Raises:
            StepError: Types of columns are uncertain, or cells do not fit them. The message has a line for each such
                column, with the text to write in `columns`.
        """
        errors: dict[str, str] = {}
        row = 0
        for chunk in self._spread(partial(self._reader.encode, self._plan), self._units):
            for name, error in chunk.errors.items():
                errors.setdefault(name, error)
            if not errors:
                numbers = np.arange(row, row + len(chunk.rows))
                yield Table(self.description, chunk.rows, chunk.labels, numbers, self.decisions)
                row += len(chunk.rows)
        if errors:
            lines = [errors[name] for name in self._features if name in errors]
            more = [f"and {len(lines) - SHOWN_ERRORS} more columns"] if len(lines) > SHOWN_ERRORS else []
            raise StepError("\n".join(lines[:SHOWN_ERRORS] + more))
        if row != self.description["rows"]:
            raise StepError(f"the data at {self._source.address} changed while they were read; run the pipeline again")

    def _decide_target(self, facts: UnitFacts) -> tuple[list[str], list[str]]:
        """Return the classes, none of a regression, and sentences on their spellings."""
        source = self._source
        if not isinstance(facts.target, ClassFacts):
            check_numbers(source.targets, facts.target)
            return [], []
        target, decimal = source.targets[0], source.csv_format.decimal
        spelled = join_numbers(target, facts.target, decimal)
        confirmed = facts.settings.get(facts.targets[0], NO_SETTING).kind is not None
        return decide_classes(target, facts.target, source.task, decimal, self._place, confirmed=confirmed), spelled

    def _place(self, name: str, row: int) -> str:
        number = bisect_right(self._starts, row) - 1
        inside = row - self._starts[number] + self._rows_in_files()[number]
        return self._reader.place(self._units[number], name, inside)

    def _rows_in_files(self) -> list[int]:
        """Return the index of each unit's first row in its file."""
        first: dict[str, int] = {}
        rows = []
        for unit, start in zip(self._units, self._starts, strict=False):
            rows.append(start - first.setdefault(unit.file.address, start))
        return rows


def parse(
    content: bytes,
    target: str | Sequence[str],
    source: str = "",
    csv_format: CsvFormat | None = None,
    columns: Mapping[str, Any] | None = None,
    task: str = "",
) -> Table:
    """Return a CSV or Parquet file as a table: one column is the target, all others are features.

    Args:
        content: The file.
        target: Name of the target, or of several targets of a regression; case and punctuation may differ.
        source: Address of the file, for the fingerprint.
        csv_format: Properties of a CSV file that are not detected.
        columns: Types and missing values of columns, see `parse_column_settings`.
        task: Classification or regression; empty if the target makes it certain.

    Raises:
        StepError: The table cannot be used for training.
    """
    targets = [target] if isinstance(target, str) else list(target)
    file = DataFile(source, "", partial(BytesIO, content))
    scan = TableScan(TableSource([file], targets, parse_task(task), csv_format or CsvFormat(), columns or {}))
    return join_rows(scan.chunks())


def join_rows(tables: Iterable[Table]) -> Table:
    """Return the rows of consecutive tables as one table."""
    collected = list(tables)
    return replace(
        collected[0],
        rows=np.concatenate([each.rows for each in collected]),
        labels=np.concatenate([each.labels for each in collected]),
        numbers=np.concatenate([each.numbers for each in collected]),
    )


def _merge(source: TableSource, units: Sequence[Unit], found: Sequence[UnitFacts]) -> UnitFacts:
    """Return the facts about all units."""
    merged, *others = found
    names = merged.columns
    types: dict[str, tuple[ColumnType | None, Unit]] = {}
    _require_equal_types(types, _types(merged), units[0])
    for unit, each in zip(units[1:], others, strict=True):
        if each.columns != names:
            raise StepError(
                f"the columns of {unit.file.address} are {', '.join(each.columns)}, those before "
                f"{', '.join(names)}; all files of a folder need the same columns in the same order"
            )
        _require_equal_types(types, _types(each), unit)
        merged.target.merge(each.target)  # type: ignore[arg-type]
        for name, facts in each.features.items():
            merged.features[name].merge(facts)
        for name, count in each.dropped.items():
            merged.dropped[name] += count
        merged.rows += each.rows
    if not merged.rows:
        raise StepError(f"columns.{next(iter(merged.dropped))}: `missing: drop` leaves no row")
    return merged


def _types(facts: UnitFacts) -> dict[str, ColumnType | None]:
    """Return the types that a file gives its columns, None for texts; without those that say nothing."""
    types = {name: each.native for name, each in facts.features.items() if each.present and each.said is None}
    if isinstance(facts.target, ClassFacts) and facts.rows:
        types[facts.targets[0]] = facts.target.native
    return types


def _require_equal_types(
    known: dict[str, tuple[ColumnType | None, Unit]], types: Mapping[str, ColumnType | None], unit: Unit
) -> None:
    """Add the types of a unit to those that are known.

    Raises:
        StepError: A column has another type; integers and other numbers are both numbers.
    """
    numbers = (ColumnType.INTEGER, ColumnType.NUMBER)
    for name, kind in types.items():
        before, first = known.setdefault(name, (kind, unit))
        if kind is not before and not (kind in numbers and before in numbers):
            raise StepError(
                f"column {name}: of type {kind or ColumnType.TEXT} in {unit.file.address}, of type "
                f"{before or ColumnType.TEXT} in {first.file.address}; write it with one type in all files"
            )
