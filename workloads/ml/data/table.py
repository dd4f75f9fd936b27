"""Tables with a class in one column: read from CSV or Parquet, checked, split, and passed from step to step."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import ColumnType, column_type, name_key, to_numbers, to_text
from workloads.ml.data.csv_reader import CsvFormat, read_csv
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

Rows = NDArray[np.float32]
"""[rows, features]; float32 from the start, because the exported model computes in float32."""
Labels = NDArray[np.int64]
"""[rows], index into the classes."""

PARQUET_MAGIC = b"PAR1"
MINIMUM_CLASS_ROWS = 5
"""Least rows of a class: the test part takes one row in five, and both parts need each class."""
DESCRIPTION_KEY = b"mlplatform.description"
"""Key of the description in the metadata of a part's file."""
PANDAS_INDEX = re.compile(r"Unnamed: \d+")
"""The name that pandas gives a column without a name."""
NO_ROW_NUMBERS = "write the file without row numbers (pandas: to_csv(index=False), R: write.csv(row.names = FALSE))"


class TableDescription(TypedDict):
    """The columns of a table and the fingerprint of its file.

    `types` are in the order of `features`; `classes` are in the order of the class indices.
    """

    features: list[str]
    types: list[str]
    target: str
    classes: list[str]
    source: str
    sha256: str
    rows: int


@dataclass(frozen=True)
class Table:
    """A checked table; names are as the user wrote them, `classes` are sorted."""

    features: list[str]
    types: list[ColumnType]
    target: str
    classes: list[str]
    rows: Rows
    labels: Labels
    source: str
    sha256: str

    def description(self) -> TableDescription:
        """Return the columns and the fingerprint."""
        return TableDescription(
            features=self.features,
            types=[str(kind) for kind in self.types],
            target=self.target,
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
    _check_names(names, table)
    return table.rename_columns(names)


def _check_names(names: list[str], table: pa.Table) -> None:
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


def find_columns(table: pa.Table, names: Sequence[str]) -> list[str | None]:
    """Return the column of each name, None for a name without one; case and punctuation of the names may differ."""
    by_key = {name_key(column): column for column in table.column_names}
    return [by_key.get(name_key(name)) for name in names]


def feature_rows(
    table: pa.Table, features: Sequence[str], csv_format: CsvFormat | None = None
) -> tuple[Rows, list[ColumnType]]:
    """Return the features of a table as rows of numbers, and their types.

    Raises:
        StepError: A column is missing, or a cell is not a finite number.
    """
    columns = find_columns(table, features)
    if missing := [name for name, column in zip(features, columns, strict=True) if column is None]:
        raise StepError(f"there is no column {', '.join(missing)}; the columns are: {', '.join(table.column_names)}")
    decimal = (csv_format or CsvFormat()).decimal
    rows = np.empty((table.num_rows, len(features)), dtype=np.float32)
    types = []
    for index, column in enumerate(columns):
        rows[:, index], kind = to_numbers(str(column), table.column(column), decimal)
        types.append(kind)
    return rows, types


def parse(content: bytes, target: str, source: str = "", csv_format: CsvFormat | None = None) -> Table:
    """Return a CSV or Parquet file as a table: the column `target` holds the classes, all others are features.

    Args:
        content: The file.
        target: Name of the target; case and punctuation may differ from the file.
        source: Address of the file, for the fingerprint.
        csv_format: Properties of a CSV file that are not detected.

    Raises:
        StepError: The table cannot be used for training.
    """
    table = read_table(content, csv_format)
    (column,) = find_columns(table, [target])
    if column is None:
        raise StepError(f"target: there is no column {target!r}; the columns are: {', '.join(table.column_names)}")
    features = [name for name in table.column_names if name != column]
    if not features:
        raise StepError(f"{target} is the only column; there must be a feature; check csv_format.separator")
    classes, labels = _encode(target, to_text(table.column(column)))
    rows, types = feature_rows(table, features, csv_format)
    return Table(
        features=features,
        types=types,
        target=target,
        classes=classes,
        rows=rows,
        labels=labels,
        source=source,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def _encode(target: str, cells: list[str | None]) -> tuple[list[str], Labels]:
    """Return the sorted classes and the class index of each cell; a class is the text of the cell."""
    if None in cells:
        raise StepError(f"target: column {target}, row {cells.index(None) + 1}: empty; every row needs a class")
    texts = [str(cell) for cell in cells]
    classes = _sorted_classes(set(texts))
    if len(classes) < 2:
        raise StepError(f"target: column {target} has one class only, {classes[0]}; at least two are needed")
    index = {name: number for number, name in enumerate(classes)}
    labels = np.fromiter((index[text] for text in texts), dtype=np.int64, count=len(texts))
    counts = np.bincount(labels)
    if counts.min() < MINIMUM_CLASS_ROWS:
        rarest = classes[int(counts.argmin())]
        raise StepError(
            f"target: class {rarest} of column {target} has {counts.min()} of {len(labels)} rows; "
            f"each class needs at least {MINIMUM_CLASS_ROWS}"
        )
    return classes, labels


def _sorted_classes(classes: set[str]) -> list[str]:
    """Return classes that are all numbers in the order of their values, others in the order of their text."""
    try:
        values = {name: float(name) for name in classes}
    except ValueError:
        return sorted(classes)
    if not all(np.isfinite(value) for value in values.values()):
        return sorted(classes)
    return sorted(classes, key=lambda name: (values[name], name))


def split(labels: Labels, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks [rows] of the training part and of the test part.

    The test part is one row in five, with the same share of each class.
    """
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels))
    _, test_rows = train_test_split(rows, test_size=0.2, random_state=seed, stratify=labels)
    test = np.isin(rows, test_rows)
    return ~test, test


def save_table(path: str, table: Table, part: NDArray[np.bool_]) -> None:
    """Write the rows of a part as Parquet: the features, the class index, and the description as file metadata.

    The description is in the file, not in the metadata of the artifact: kfp passes those to a step as one argument,
    and thousands of names exceed the length that Linux allows.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns = [pa.array(column) for column in table.rows[part].T] + [pa.array(table.labels[part])]
    metadata = {DESCRIPTION_KEY: json.dumps(table.description())}
    parquet.write_table(pa.table(columns, names=[*table.features, table.target], metadata=metadata), path)


def load_table(path: str) -> tuple[Rows, Labels]:
    """Return rows and labels of a part that `save` wrote."""
    from pyarrow import parquet

    *features, labels = (column.to_numpy() for column in parquet.ParquetFile(path).read().columns)
    return np.column_stack(features), labels


def load_description(path: str) -> TableDescription:
    """Return the description of the whole table from a part that `save` wrote."""
    from pyarrow import parquet

    description: TableDescription = json.loads(parquet.ParquetFile(path).schema_arrow.metadata[DESCRIPTION_KEY])
    return description


def short(value: Any) -> float:
    """Return the shortest decimal of a float32: 5.1, not 5.099999904632568."""
    return float(f"{value:.7g}")
