"""Classes of a target: one class for each number and each text, and none for a missing value."""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.tables.test_parquet_tables import ROWS, parquet_of
from tests.pipelines.tables.test_written_settings import suggestions
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import Table
from workloads.ml.errors import StepError


def classes_of(*cells: str, task: str = "", **setting: Any) -> Table:
    """Return a table whose target has these cells again and again."""
    rows = "".join(f"{row},{cells[row % len(cells)]}\n" for row in range(12 * len(cells)))
    columns = {"kind": setting} if setting else {}
    return table_scan.parse(f"x,kind\n{rows}".encode(), "kind", columns=columns, task=task)


@pytest.mark.parametrize("cells", [("yes", "no", "NA"), ("1", "0", "NULL"), ("1", "0", "nan"), ("a", "b", "?")])
def test_class_that_may_be_a_missing_value_is_refused_until_the_user_says_which(cells: tuple[str, ...]) -> None:
    word = cells[-1]
    for task in ("", "classification"):
        with pytest.raises(StepError) as refused:
            classes_of(*cells, task=task)
        assert f"target: column kind, row 3: '{word}' is a class or a missing value" in str(refused.value)
        assert {"kind": {"missing": "drop", "missing_texts": [word]}} in suggestions(str(refused.value))
        assert "if it is a class, `{kind: category}`" in str(refused.value)
    assert classes_of(*cells, missing="drop", missing_texts=[word]).classes == sorted(cells[:-1])
    assert classes_of(*cells, type="category").classes == sorted(cells)


@pytest.mark.parametrize("task", ["regression", "anomaly"])
def test_target_of_no_classes_that_is_said_to_be_a_category_is_refused(task: str) -> None:
    with pytest.raises(StepError, match=f"columns.kind: category; with `task: {task}`, the target holds no classes"):
        classes_of("1", "0", task=task, type="category")
    with pytest.raises(StepError, match=r"a target takes only .* type only with category"):
        classes_of("1", "0", type="number")


@pytest.mark.parametrize("setting", [{}, {"missing": "drop", "missing_texts": ["x"]}])
def test_spaces_around_a_class_have_no_meaning(setting: dict[str, Any]) -> None:
    assert classes_of("yes", "no", "yes ", " no", **setting).classes == ["no", "yes"]
    with pytest.raises(StepError, match="column kind, row 3: empty; every row needs a class"):
        classes_of("yes", "no", " ")


def test_spellings_of_a_number_are_one_class_which_the_decisions_say() -> None:
    parsed = classes_of("1", "0", "1.0", "0.00")
    assert parsed.classes == ["0", "1"]
    assert np.array_equal(parsed.labels[:4], [1, 0, 1, 0])
    assert parsed.decisions == [
        "target: 1.0 of column kind is the class 1, the same number",
        "target: 0.00 of column kind is the class 0, the same number",
    ]
    assert classes_of("1.0", "0.0").classes == ["0.0", "1.0"]
    with pytest.raises(StepError, match="target: 007, 7 of column kind are one number, and codes with leading zeros"):
        classes_of("7", "007", "8")


@pytest.mark.parametrize(
    "marks",
    [
        pa.array([0.0, 1.0] * (ROWS // 2)),
        pa.array([decimal.Decimal("0.00"), decimal.Decimal("1.00")] * (ROWS // 2)),
        pa.array(["0.0", "1.0"] * (ROWS // 2)),
        pa.array([0, 1] * (ROWS // 2)),
    ],
    ids=["float", "decimal", "text", "integer"],
)
def test_numbers_mark_classes_and_anomalies_whatever_their_type(marks: pa.Array) -> None:
    content = parquet_of(np.arange(ROWS), marks)
    parsed = table_scan.parse(content, "kind", task="anomaly")
    assert (parsed.classes, parsed.labels[:2].tolist()) == (["normal", "anomaly"], [0, 1])
    if not pa.types.is_string(marks.type):
        assert table_scan.parse(content, "kind").classes == ["0", "1"]
