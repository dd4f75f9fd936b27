"""Tables for training: read from CSV or Parquet, checked, split, and passed from step to step."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.column_schema import read_features
from workloads.ml.data.column_settings import DROP, NO_SETTING, ColumnSettings, parse_column_settings
from workloads.ml.data.columns import ColumnType, column_type, name_key, with_nulls
from workloads.ml.data.csv_reader import CsvFormat, read_csv
from workloads.ml.data.encoding import ColumnSchema, Rows, find_columns
from workloads.ml.data.target import Labels, Task, Values, encode_targets, parse_task
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_MAGIC = b"PAR1"
DESCRIPTION_KEY = b"mlplatform.description"
"""Key of the description in the metadata of a part's file."""
PANDAS_INDEX = re.compile(r"Unnamed: \d+")
"""The name that pandas gives a column without a name."""
NO_ROW_NUMBERS = "write the file without row numbers (pandas: to_csv(index=False), R: write.csv(row.names = FALSE))"


class TableDescription(TypedDict):
    """The schema of a table and the fingerprint of its file.

    `columns` describe the features in order. `classes` are in the order of the class indices, empty for a regression.
    `scales` are the standard deviations of a regression's targets.
    """

    features: list[str]
    columns: list[ColumnSchema]
    task: str
    target: str
    targets: list[str]
    unit: str
    scales: list[float]
    classes: list[str]
    source: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Table:
    """A checked table; names are as the user wrote them.

    Args:
        columns: The schema of the features.
        targets: Names of the targets: one, or several of a regression.
        classes: The sorted classes; empty for a regression.
        rows: The encoded features [rows, features].
        labels: Class indices [rows]; of a regression, the numbers [rows] or [rows, targets].
        source: Address of the file.
        decisions: Sentences on what was read from the cells or from the settings.
    """

    columns: list[ColumnSchema]
    task: Task
    targets: list[str]
    classes: list[str]
    rows: Rows
    labels: Labels | Values
    source: str
    sha256: str
    unit: str = ""
    decisions: list[str] = field(default_factory=list)

    @property
    def features(self) -> list[str]:
        """Return the names of the features."""
        return [column["name"] for column in self.columns]

    @property
    def types(self) -> list[str]:
        """Return the types of the features."""
        return [column["type"] for column in self.columns]

    @property
    def target(self) -> str:
        """Return the name of the first target."""
        return self.targets[0]

    def description(self) -> TableDescription:
        """Return the schema and the fingerprint."""
        regression = self.task is Task.REGRESSION
        return TableDescription(
            features=self.features,
            columns=self.columns,
            task=str(self.task),
            target=self.target,
            targets=self.targets,
            unit=self.unit,
            scales=np.atleast_1d(self.labels.std(axis=0)).tolist() if regression else [],
            classes=self.classes,
            source=self.source,
            sha256=self.sha256,
            rows=len(self.labels),
        )


def read_table(content: bytes, csv_format: CsvFormat | None = None) -> pa.Table:
    """Return a CSV or Parquet file as a table with unique column names; cells of a CSV file are text.

    Raises:
        StepError: The file cannot be read, has no rows, or a column has no unique name.
    """
    import pyarrow as pa
    from pyarrow import parquet

    if content.startswith(PARQUET_MAGIC):
        try:
            table = parquet.read_table(BytesIO(content))
        except (pa.ArrowException, OSError) as error:
            raise StepError(f"the data begin like a Parquet file but cannot be read: {error}") from None
        names = table.column_names
    else:
        names, table = read_csv(content, csv_format or CsvFormat())
    if not table.num_rows:
        raise StepError("the data have a header but no rows")
    check_names(names, table)
    return table.rename_columns(names)


def check_names(names: list[str], table: pa.Table) -> None:
    """Require a unique name for each column."""
    for number, name in enumerate(names):
        if (not name.strip() or PANDAS_INDEX.fullmatch(name)) and _is_row_number(table.column(number)):
            raise StepError(f"column {number + 1} has no name and holds row numbers; {NO_ROW_NUMBERS}")
    keys = [name_key(name) for name in names]
    if len(set(keys)) < len(keys) or not all(name.strip() for name in names):
        raise StepError(f"each column needs a unique name, case and punctuation aside; found: {', '.join(names)}")


def _is_row_number(column: pa.ChunkedArray) -> bool:
    """Return True if the cells are 0, 1, 2, ... or 1, 2, 3, ..."""
    if column.null_count or column_type(column) is not ColumnType.INTEGER:
        return False
    numbers = np.array([int(cell) for cell in column.to_pylist()])
    return bool(numbers[0] in (0, 1) and (np.diff(numbers) == 1).all())


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
    chosen, wanted = parse_task(task), [target] if isinstance(target, str) else list(target)
    table = read_table(content, csv_format)
    targets = _find_targets(table, wanted, chosen)
    features = [name for name in table.column_names if name not in targets]
    if not features:
        raise StepError(f"{wanted[0]} is the only column; there must be a feature; check csv_format.separator")
    settings = parse_column_settings(columns or {}, table.column_names, targets)
    table, decisions = _drop_rows(table, settings)
    decimal = (csv_format or CsvFormat()).decimal
    cells = [_target_cells(table, name, settings) for name in targets]
    classes, labels = encode_targets(wanted, cells, chosen, decimal)
    schema, rows, detected = read_features(table, features, settings, decimal)
    return Table(
        columns=schema,
        task=chosen or Task.CLASSIFICATION,
        targets=wanted,
        classes=classes,
        rows=rows,
        labels=labels,
        source=source,
        sha256=hashlib.sha256(content).hexdigest(),
        unit=settings.get(targets[0], NO_SETTING).unit,
        decisions=decisions + detected,
    )


def _find_targets(table: pa.Table, wanted: Sequence[str], task: Task | None) -> list[str]:
    """Return the columns of the targets as the file names them."""
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


def _target_cells(table: pa.Table, name: str, settings: ColumnSettings) -> pa.ChunkedArray:
    texts = settings.get(name, NO_SETTING).missing_texts
    return with_nulls(table.column(name), texts) if texts else table.column(name)


def _drop_rows(table: pa.Table, settings: ColumnSettings) -> tuple[pa.Table, list[str]]:
    """Return the table without the rows that the settings drop."""
    import pyarrow.compute as pc

    decisions = []
    for name, setting in settings.items():
        if setting.missing != DROP:
            continue
        empty = with_nulls(table.column(name), setting.missing_texts).is_null()
        dropped = pc.sum(empty).as_py() or 0
        if dropped == table.num_rows:
            raise StepError(f"columns.{name}: `missing: {DROP}` leaves no row")
        table = table.filter(pc.invert(empty))
        decisions.append(f"column {name}: {dropped} rows without a value are left out, as columns says")
    return table, decisions


def split(labels: Labels | Values, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks [rows] of the training part and of the test part.

    The test part is one row in five; of classes, with the same share of each class.
    """
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels))
    classes = labels if np.issubdtype(labels.dtype, np.integer) else None
    _, test_rows = train_test_split(rows, test_size=0.2, random_state=seed, stratify=classes)
    test = np.isin(rows, test_rows)
    return ~test, test


def save_table(path: str, table: Table, part: NDArray[np.bool_]) -> None:
    """Write the rows of a part as Parquet: the encoded features, the labels, and the description as file metadata.

    The description is in the file, not in the metadata of the artifact: kfp passes those to a step as one argument,
    and thousands of names exceed the length that Linux allows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    labels = table.labels[part].reshape(int(part.sum()), -1)
    columns = [pa.array(column) for column in (*table.rows[part].T, *labels.T)]
    metadata = {DESCRIPTION_KEY: json.dumps(table.description())}
    parquet.write_table(pa.table(columns, names=[*table.features, *table.targets], metadata=metadata), path)


def load_table(path: str) -> tuple[Rows, Labels | Values]:
    """Return rows and labels of a part that `save_table` wrote; a missing value of a row is NaN.

    Labels are class indices [rows]; of a regression, numbers [rows], or [rows, targets] of several targets.
    """
    from pyarrow import parquet

    table = parquet.ParquetFile(path).read()
    features = len(_description(table.schema)["features"])
    columns = [column.to_numpy() for column in table.columns]
    labels = columns[features:]
    return np.column_stack(columns[:features]), labels[0] if len(labels) == 1 else np.column_stack(labels)


def load_description(path: str) -> TableDescription:
    """Return the description of the whole table from a part that `save_table` wrote."""
    from pyarrow import parquet

    return _description(parquet.ParquetFile(path).schema_arrow)


def _description(schema: pa.Schema) -> TableDescription:
    description: TableDescription = json.loads(schema.metadata[DESCRIPTION_KEY])
    return description


def short(value: Any) -> float:
    """Return the shortest decimal of a float32: 5.1, not 5.099999904632568."""
    return float(f"{value:.7g}")
