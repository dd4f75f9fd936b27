"""Reader of single units of training data: facts about their cells, and their encoded rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from workloads.ml.data.column_facts import ColumnFacts
from workloads.ml.data.column_schema import Decided
from workloads.ml.data.column_settings import DROP, IGNORE, NO_SETTING, ColumnSettings, parse_column_settings
from workloads.ml.data.columns import ColumnType
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import DataFile
from workloads.ml.data.encoding import Rows, encode_column
from workloads.ml.data.missing_cells import with_nulls
from workloads.ml.data.scan.table_columns import check_target_settings, find_targets, require_readable_cells
from workloads.ml.data.scan.target_classes import ClassFacts, anomaly_cells, encode_classes
from workloads.ml.data.table_chunks import Unit, read_bytes, read_chunks
from workloads.ml.data.target import Labels, Task, ValueFacts, Values, encode_values
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_BYTES = 1 << 25
"""Batches are one chunk until they have this size."""


@dataclass(frozen=True)
class TableSource:
    """The data of a training and what the user says about them.

    Args:
        files: The files in order.
        targets: Names of the targets; case and punctuation may differ.
        task: The task; None if the target decides.
        csv_format: Properties of CSV files that are not detected.
        columns: Types and missing values of columns, see `parse_column_settings`.
    """

    files: Sequence[DataFile]
    targets: list[str]
    task: Task | None
    csv_format: CsvFormat
    columns: Mapping[str, Any]

    @property
    def address(self) -> str:
        """Return the address of the file, or of the folder of the files."""
        return self.files[0].folder or self.files[0].address


@dataclass
class UnitFacts:
    """Facts about the rows of one unit.

    Args:
        columns: Names of all columns in order.
        targets: Those of the targets.
        settings: What the user says about them.
        target: Facts about the target.
        features: Facts about the features by name.
        dropped: Number of rows that are left out, by the column that is empty.
        rows: Number of the other rows.
        digest: SHA-256 of the file, if the unit is its first.
    """

    columns: list[str]
    targets: list[str]
    settings: ColumnSettings
    target: ClassFacts | ValueFacts
    features: dict[str, ColumnFacts]
    dropped: dict[str, int]
    rows: int = 0
    digest: str = ""


@dataclass(frozen=True)
class EncodedChunk:
    """Consecutive rows [rows, features] with their labels; or, without rows, the errors of columns by name."""

    rows: Rows
    labels: Labels | Values
    errors: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TablePlan:
    """Facts and settings that the encoding of a unit needs.

    Args:
        decided: The schemas of the features.
        classes: The classes; empty for a regression.
        first_rows: Index of each unit's first row among the kept rows of its file.
    """

    decided: Decided
    classes: list[str]
    first_rows: list[int]


class UnitReader:
    """Reader of single units.

    Args:
        source: The data.
    """

    def __init__(self, source: TableSource) -> None:
        self._source = source

    def facts(self, unit: Unit) -> Iterator[UnitFacts]:
        """Yield the facts about a unit.

        Raises:
            StepError: The file cannot be read, lacks a target, or a number of a regression's target is none.
        """
        facts: UnitFacts | None = None
        for table in self._chunks(unit):
            if facts is None:
                facts = self._no_facts(table)
            table = self._drop_rows(table, facts)
            if not table.num_rows:
                continue
            self._observe_target(facts, table, unit)
            for name, each in facts.features.items():
                each.observe(table.column(name))
            facts.rows += table.num_rows
        assert facts
        if not unit.first_row:
            facts.digest = _digest(unit.file)
        yield facts

    def encode(self, plan: TablePlan, unit: Unit) -> Iterator[EncodedChunk]:
        """Yield the encoded rows of a unit; with errors, its last chunk has only those."""
        source, row, errors = self._source, plan.first_rows[unit.number], dict(plan.decided.errors)
        facts: UnitFacts | None = None
        for table in self._chunks(unit):
            if facts is None:
                facts = self._no_facts(table)
            table = self._drop_rows(table, facts)
            columns = []
            for schema in plan.decided.schemas:
                if schema["name"] in errors:
                    continue
                try:
                    column = table.column(schema["name"])
                    columns.append(encode_column(column, schema, source.csv_format.decimal, row))
                except StepError as error:
                    errors[schema["name"]] = f"{self._prefix(unit)}{error}"
            if not errors and table.num_rows:
                yield EncodedChunk(np.column_stack(columns), self._labels(plan, table, facts, unit, row))
            row += table.num_rows
        if errors:
            yield EncodedChunk(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), errors)

    def place(self, unit: Unit, name: str, row: int) -> str:
        """Return the text for a column and a row of a file."""
        return f"{self._prefix(unit)}column {name}, row {row + 1}"

    def _prefix(self, unit: Unit) -> str:
        return f"{unit.file.address}: " if len(self._source.files) > 1 else ""

    def _chunks(self, unit: Unit) -> Iterator[pa.Table]:
        """Yield the rows of a unit in chunks of some size."""
        import pyarrow as pa

        collected: list[pa.Table] = []
        try:
            for table in read_chunks(unit, self._source.csv_format):
                collected.append(table)
                if sum(each.nbytes for each in collected) >= CHUNK_BYTES:
                    yield pa.concat_tables(collected).combine_chunks()
                    collected = []
        except StepError as error:
            raise StepError(f"{self._prefix(unit)}{error}") from None
        if collected:
            yield pa.concat_tables(collected).combine_chunks()

    def _no_facts(self, table: pa.Table) -> UnitFacts:
        """Return facts about no rows yet, with the settings of the columns of a table."""
        targets = find_targets(table, self._source.targets, self._source.task)
        features = [name for name in table.column_names if name not in targets]
        if not features:
            only = self._source.targets[0]
            raise StepError(f"{only} is the only column; there must be a feature; check csv_format.separator")
        settings = parse_column_settings(self._source.columns, table.column_names, targets)
        read = [name for name in features if settings.get(name, NO_SETTING).type != IGNORE]
        check_target_settings(settings, targets, self._source.task)
        require_readable_cells(table.select([*targets, *read]).schema, settings, self._source.csv_format.decimal)
        regression = self._source.task is Task.REGRESSION
        return UnitFacts(
            columns=table.column_names,
            targets=targets,
            settings=settings,
            target=ValueFacts() if regression else ClassFacts(),
            features={name: _column_facts(name, settings, self._source.csv_format.decimal) for name in read},
            dropped={name: 0 for name, setting in settings.items() if setting.missing == DROP},
        )

    def _drop_rows(self, table: pa.Table, facts: UnitFacts) -> pa.Table:
        """Return the table without the rows that the settings drop."""
        import pyarrow.compute as pc

        for name in facts.dropped:
            empty = self._with_nulls(table, facts, name).is_null()
            facts.dropped[name] += pc.sum(empty).as_py() or 0
            table = table.filter(pc.invert(empty))
        return table

    def _with_nulls(self, table: pa.Table, facts: UnitFacts, name: str) -> pa.ChunkedArray:
        setting = facts.settings.get(name, NO_SETTING)
        return with_nulls(table.column(name), setting.missing_texts, self._source.csv_format.decimal, setting.kind)

    def _target_cells(self, table: pa.Table, facts: UnitFacts, unit: Unit, row: int) -> list[pa.ChunkedArray]:
        source, cells = self._source, [self._with_nulls(table, facts, name) for name in facts.targets]
        if source.task is not Task.ANOMALY:
            return cells
        place, decimal = partial(self.place, unit), source.csv_format.decimal
        return [anomaly_cells(source.targets[0], cells[0], decimal, row, place)]

    def _observe_target(self, facts: UnitFacts, table: pa.Table, unit: Unit) -> None:
        cells = self._target_cells(table, facts, unit, facts.rows)
        if isinstance(facts.target, ValueFacts):
            facts.target.observe(self._values(cells, unit, facts.rows))
        else:
            facts.target.observe(cells[0])

    def _values(self, cells: Sequence[pa.ChunkedArray], unit: Unit, row: int) -> Values:
        """Return the numbers of the targets [rows, targets]."""
        decimal, place = self._source.csv_format.decimal, partial(self.place, unit)
        named = zip(self._source.targets, cells, strict=True)
        return np.column_stack([encode_values(name, column, decimal, row, place) for name, column in named])

    def _labels(self, plan: TablePlan, table: pa.Table, facts: UnitFacts, unit: Unit, row: int) -> Labels | Values:
        cells = self._target_cells(table, facts, unit, row)
        if plan.classes:
            return encode_classes(self._source.targets[0], cells[0], plan.classes, self._source.csv_format.decimal)
        values = self._values(cells, unit, row)
        return values[:, 0] if len(cells) == 1 else values


def _column_facts(name: str, settings: ColumnSettings, decimal: str) -> ColumnFacts:
    setting = settings.get(name, NO_SETTING)
    listed = setting.type == ColumnType.CATEGORY and not setting.categories
    return ColumnFacts(decimal, setting.missing_texts, setting.kind, all_categories=listed)


def _digest(file: DataFile) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with file.open() as stream:
        for piece in read_bytes(stream, file):
            digest.update(piece)
    return digest.hexdigest()
