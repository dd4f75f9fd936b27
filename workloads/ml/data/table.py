"""Tables for training: read from CSV or Parquet, checked, split, and passed from step to step."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import name_key
from workloads.ml.data.encoding import ColumnSchema, Rows
from workloads.ml.data.target import Labels, Values
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

PARQUET_MAGIC = b"PAR1"
DESCRIPTION_KEY = b"mlplatform.description"
"""Key of the description in the metadata of a part's file."""
PANDAS_INDEX = re.compile(r"Unnamed: \d+")
"""The name that pandas gives a column without a name."""
GROUP_ROWS = 1 << 16
"""Rows of a row group of a part: the training in chunks reads one at a time."""
MOST_ROWS = 1_000_000
MOST_CELLS = 25_000_000
"""Rows and encoded values of a table that is held in memory, at most."""
MEMORY_FACTOR = 3
"""Memory of a training with all rows, as a multiple of the rows."""
CHUNK_LEARNERS = (
    "XGBClassifier",
    "XGBRegressor",
    "SGDClassifier",
    "SGDRegressor",
    "SGDOneClassSVM",
    "MLPClassifier",
    "MLPRegressor",
    "GaussianNB",
)
"""Estimators that learn from a large table in chunks; others with partial_fit do so, too."""
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
    """Rows of a checked table; names are as the user wrote them.

    Args:
        description: The schema and the fingerprint of the whole table.
        rows: The encoded features [rows, features].
        labels: Class indices [rows]; of a regression, the numbers [rows] or [rows, targets].
        numbers: Indices of the rows in the whole table [rows], ascending.
        decisions: Sentences on what was read from the cells or from the settings.
    """

    description: TableDescription
    rows: Rows
    labels: Labels | Values
    numbers: NDArray[np.int64]
    decisions: list[str] = field(default_factory=list)

    @property
    def features(self) -> list[str]:
        """Return the names of the features."""
        return self.description["features"]

    @property
    def columns(self) -> list[ColumnSchema]:
        """Return the schema of the features."""
        return self.description["columns"]

    @property
    def types(self) -> list[str]:
        """Return the types of the features."""
        return [column["type"] for column in self.columns]

    @property
    def classes(self) -> list[str]:
        """Return the sorted classes; empty for a regression."""
        return self.description["classes"]

    @property
    def target(self) -> str:
        """Return the name of the first target."""
        return self.description["target"]

    def select(self, part: NDArray[np.bool_]) -> Table:
        """Return the rows of a mask."""
        if part.all():
            return self
        return replace(self, rows=self.rows[part], labels=self.labels[part], numbers=self.numbers[part])


def is_large(rows: int, features: int) -> bool:
    """Return True if a table is too large to work with all its rows in memory."""
    return rows > MOST_ROWS or rows * features > MOST_CELLS


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
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        numbers = pc.cast(column, pa.int64()).to_numpy()
    except pa.ArrowException:
        return False
    return bool(not column.null_count and numbers[0] in (0, 1) and (np.diff(numbers) == 1).all())


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
    """Write the rows of a mask as Parquet."""
    with PartWriter(path, table.description) as writer:
        writer.write(table.select(part))


class PartWriter:
    """Parquet file of a part: the encoded features, the labels, and the description as file metadata.

    The description is in the file, not in the metadata of the artifact: kfp passes those to a step as one argument,
    and thousands of names exceed the length that Linux allows.

    Args:
        path: Path of the file.
        description: The description of the whole table.
    """

    def __init__(self, path: str, description: TableDescription) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        labels = pa.int64() if description["classes"] else pa.float64()
        fields = [pa.field(name, pa.float32()) for name in description["features"]]
        fields += [pa.field(name, labels) for name in description["targets"]]
        self._schema = pa.schema(fields, {DESCRIPTION_KEY: json.dumps(description)})
        self._writer = parquet.ParquetWriter(path, self._schema)

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, table: Table) -> None:
        """Add rows."""
        import pyarrow as pa

        labels = table.labels.reshape(len(table.rows), -1)
        columns = [pa.array(column) for column in (*table.rows.T, *labels.T)]
        self._writer.write_table(pa.table(columns, schema=self._schema), row_group_size=GROUP_ROWS)


def load_table(path: str, user: str = "this step") -> tuple[Rows, Labels | Values]:
    """Return rows and labels of a part that `PartWriter` wrote; a missing value of a row is NaN.

    Labels are class indices [rows]; of a regression, numbers [rows], or [rows, targets] of several targets.

    Args:
        path: Path of the part.
        user: What needs all rows, for the error.

    Raises:
        StepError: The rows do not fit into the memory of this step.
    """
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    features = len(_description(file.schema_arrow)["features"])
    _require_memory(user, file.metadata.num_rows, features)
    return _arrays(file.read(), features)


def read_groups(path: str) -> Iterator[tuple[Rows, Labels | Values]]:
    """Yield rows and labels of a part in groups of some rows."""
    for index in range(count_groups(path)):
        yield read_group(path, index)


def read_group(path: str, index: int) -> tuple[Rows, Labels | Values]:
    """Return rows and labels of one group of a part."""
    from pyarrow import parquet

    file = parquet.ParquetFile(path)
    return _arrays(file.read_row_group(index), len(_description(file.schema_arrow)["features"]))


def count_groups(path: str) -> int:
    """Return the number of groups of a part."""
    from pyarrow import parquet

    return int(parquet.ParquetFile(path).metadata.num_row_groups)


def _arrays(table: pa.Table, features: int) -> tuple[Rows, Labels | Values]:
    columns = [column.to_numpy() for column in table.columns]
    labels = columns[features:]
    return np.column_stack(columns[:features]), labels[0] if len(labels) == 1 else np.column_stack(labels)


def _require_memory(user: str, rows: int, features: int) -> None:
    """Require that a large table fits into the memory of this step, with what a training needs beside it."""
    if not is_large(rows, features):
        return
    from distributed.system import memory_limit

    needed, limit = MEMORY_FACTOR * 4 * rows * features, memory_limit()
    if needed > limit:
        raise StepError(
            f"{user} needs all rows in memory: {rows} rows of {features} features take about "
            f"{needed / 2**30:.1f} GiB, and there are {limit / 2**30:.1f} GiB; choose an estimator that learns in "
            f"chunks: {', '.join(CHUNK_LEARNERS)}"
        )


def count_rows(path: str) -> int:
    """Return the number of rows of a part."""
    from pyarrow import parquet

    return int(parquet.ParquetFile(path).metadata.num_rows)


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
