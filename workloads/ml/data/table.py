"""Tables of numbers with a class in one column: read from CSV, checked, split, and passed from step to step."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pandas as pd

Rows = NDArray[np.float32]
"""[rows, features]; float32 from the start, because the exported model computes in float32."""
Column = NDArray[np.float32]
"""[rows], the values of one feature."""
Labels = NDArray[np.int64]
"""[rows], index into the classes."""

MINIMUM_CLASS_ROWS = 5
"""Least rows of a class: the test part takes one row in five, and both parts need each class."""


@dataclass(frozen=True)
class Table:
    """A checked table; names are in snake case, `classes` are sorted."""

    features: list[str]
    target: str
    classes: list[str]
    rows: Rows
    labels: Labels


def snake_case(name: str) -> str:
    """Return a name in snake case: `sepal_length_cm` for `SepalLengthCm`, `Sepal.Length.Cm` or `sepal length (cm)`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^0-9a-z]+", "_", words.lower()).strip("_")


def read_frame(content: bytes) -> pd.DataFrame:
    """Return a CSV file with a header as a frame with columns in snake case. Only an empty cell is a missing value.

    Raises:
        StepError: The file is empty or not CSV, or two columns have the same name.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(
            BytesIO(content),
            encoding="utf-8-sig",
            keep_default_na=False,
            na_values=[""],
            low_memory=False,  # otherwise pandas infers the type of a long column part by part
        )
    except ValueError as error:  # raised by the parser and by the decoder
        raise StepError(f"the data are not a CSV table in UTF-8 with a header: {error}") from error
    if frame.empty:
        raise StepError("the data have a header but no rows")
    given = [str(name) for name in frame.columns]
    names = [snake_case(name) for name in given]
    if len(set(names)) < len(names) or "" in names:
        raise StepError(f"each column needs a unique name, case and punctuation aside; found: {', '.join(given)}")
    return frame.set_axis(names, axis="columns")


def numbers(frame: pd.DataFrame, names: list[str]) -> Rows:
    """Return the named columns as rows of numbers.

    Raises:
        StepError: A column is missing, or a cell is not a finite number.
    """
    import pandas as pd

    if missing := [name for name in names if name not in frame]:
        raise StepError(f"there is no column {', '.join(missing)}; the columns are: {', '.join(frame.columns)}")
    rows = np.empty((len(frame), len(names)), dtype=np.float32)
    for i, name in enumerate(names):
        with np.errstate(over="ignore"):
            rows[:, i] = pd.to_numeric(frame[name], errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if (bad := np.flatnonzero(~np.isfinite(rows[:, i]))).size:
            cell = frame[name].iloc[bad[0]]
            found = "empty" if pd.isna(cell) else repr(str(cell))
            where = f"column {name}, row {bad[0] + 1}"
            raise StepError(f"{where}: {found}; every column but the target holds finite numbers only")
    return rows


def parse(content: bytes, target: str) -> Table:
    """Return a CSV file as a table: the column `target` holds the classes, all others are features.

    Raises:
        StepError: The table cannot be used for training.
    """
    frame = read_frame(content)
    name = snake_case(target)
    if name not in frame:
        raise StepError(f"target: there is no column {target!r}; the columns are: {', '.join(frame.columns)}")
    features = [column for column in frame.columns if column != name]
    if not features:
        raise StepError(f"there is no column besides the target {name}; check that commas separate the columns")
    if (missing := np.flatnonzero(frame[name].isna())).size:
        raise StepError(f"target: column {name}, row {missing[0] + 1}: empty; every row needs a class")
    values, labels = np.unique(frame[name].to_numpy(), return_inverse=True)
    classes = [str(value) for value in values]
    if len(classes) < 2:
        raise StepError(f"target: column {name} has one class only, {classes[0]}; at least two are needed")
    counts = np.bincount(labels)
    if counts.min() < MINIMUM_CLASS_ROWS:
        rarest = classes[int(counts.argmin())]
        raise StepError(
            f"target: class {rarest} of column {name} has {counts.min()} of {len(labels)} rows; "
            f"each class needs at least {MINIMUM_CLASS_ROWS}"
        )
    return Table(features, name, classes, numbers(frame, features), labels.astype(np.int64))


def split(labels: Labels, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return masks [rows] of the training part and of the test part.

    The test part is one row in five, with the same share of each class.
    """
    from sklearn.model_selection import train_test_split

    rows = np.arange(len(labels))
    _, test_rows = train_test_split(rows, test_size=0.2, random_state=seed, stratify=labels)
    test = np.isin(rows, test_rows)
    return ~test, test


def save(path: str, table: Table, part: NDArray[np.bool_]) -> None:
    """Write the rows of a part as CSV: the features, then the class index."""
    import pandas as pd

    frame = pd.DataFrame(table.rows[part], columns=table.features)
    frame[table.target] = table.labels[part]
    frame.to_csv(path, index=False)


def load(path: str) -> tuple[Rows, Labels]:
    """Return rows and labels from a file that `save` wrote."""
    values = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    return values[:, :-1].astype(np.float32), values[:, -1].astype(np.int64)


def short(value: Any) -> float:
    """Return the shortest decimal of a float32: 5.1, not 5.099999904632568."""
    return float(f"{value:.7g}")
