"""Columns of Parquet files that CSV files cannot have, and values near the ends of their types."""

from __future__ import annotations

import datetime
import io
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from workloads.ml.data import table
from workloads.ml.data.encoding import encode_rows
from workloads.ml.data.scan import table_scan
from workloads.ml.errors import StepError

ROWS = 40
KINDS = ["a", "b"] * (ROWS // 2)


def parquet_of(x: Any, kind: Any = KINDS) -> bytes:
    """Return a Parquet file with the columns x, y and kind."""
    content = io.BytesIO()
    parquet.write_table(pa.table({"x": x, "y": np.arange(ROWS) / 10, "kind": kind}), content)
    return content.getvalue()


def parse(content: bytes, **columns: Any) -> table.Table:
    return table_scan.parse(content, "kind", columns=columns)


def test_row_numbers_of_pandas_are_no_feature_unless_they_are_named() -> None:
    frame = pd.DataFrame({"x": np.arange(2 * ROWS) / 10, "kind": KINDS * 2})
    content = frame[frame.index * 7 % 80 < ROWS].assign(kind=KINDS).to_parquet(None)
    parsed = parse(content)
    assert parsed.features == ["x"]
    assert "column __index_level_0__: ignored, pandas stored its row numbers there" in parsed.decisions
    assert parse(content, __index_level_0__="integer").features == ["x", "__index_level_0__"]


def test_target_that_is_not_a_number_is_a_missing_class() -> None:
    kind = pa.array(np.array([0.0, 1.0] * (ROWS // 2 - 1) + [0.0, np.nan]), from_pandas=False)
    with pytest.raises(StepError, match="column kind, row 40"):
        parse(parquet_of(np.arange(ROWS), kind))
    assert parse(parquet_of(np.arange(ROWS), kind), kind={"missing": "drop"}).classes == ["0", "1"]


@pytest.mark.parametrize("day", ["0001-01-01", "1600-02-29", "9999-12-31"])
def test_dates_far_away_are_days(day: str) -> None:
    days = (datetime.date.fromisoformat(day) - datetime.date(1970, 1, 1)).days
    near = datetime.date(1970, 1, 2)
    dates = [datetime.date.fromisoformat(day), near] * (ROWS // 2)
    lines = [f"{date},{row},{kind}" for row, (date, kind) in enumerate(zip(dates, KINDS, strict=True))]
    for content in (parquet_of(dates), ("x,y,kind\n" + "\n".join(lines) + "\n").encode()):
        parsed = parse(content)
        assert parsed.columns[0]["type"] == "date"
        assert parsed.rows[:2, 0].tolist() == [days, 1]


def test_integers_that_no_double_has_are_codes_or_rounded_numbers() -> None:
    codes = np.array([2**53 + 1, 2**53 + 3] * (ROWS // 2))
    content = parquet_of(codes)
    with pytest.raises(StepError, match=r"9007199254740993 is larger than 2\^24"):
        parse(content)
    assert parse(content, x="category").columns[0]["categories"] == [str(codes[0]), str(codes[1])]
    assert parse(content, x="number").rows[0, 0] == np.float32(codes[0])


def test_integers_that_became_other_numbers_beside_an_empty_cell_are_codes_or_rounded_numbers() -> None:
    ids = pd.Series(range(2**24, 2**24 + ROWS)).astype(float).where(np.arange(ROWS) != 5)
    content = parquet_of(pa.Array.from_pandas(ids))
    with pytest.raises(StepError, match=r"column x, row 2: 16777217.0 is larger than 2\^24, and models compute with"):
        parse(content, x={"missing": True})
    assert parse(content, x={"type": "number", "missing": True}).types[0] == "number"
    assert parse(parquet_of(ids.fillna(0) + 0.5)).types[0] == "number"


def test_timestamps_of_spark_are_read_outside_of_the_years_that_nanoseconds_have() -> None:
    moments = [datetime.datetime(9999, 12, 31), datetime.datetime(1600, 1, 1)] * (ROWS // 2)
    content = io.BytesIO()
    columns = {"x": pa.array(moments, pa.timestamp("us")), "kind": KINDS}
    parquet.write_table(pa.table(columns), content, use_deprecated_int96_timestamps=True)
    assert parse(content.getvalue()).rows[:2, 0].tolist() == [2932896, -135140]


def test_nanoseconds_of_a_date_do_not_change_the_others() -> None:
    cells = ["1600-01-01", "1970-01-02T00:00:00.000000001Z"] * (ROWS // 2)
    lines = [f"{cell},{row},{kind}" for row, (cell, kind) in enumerate(zip(cells, KINDS, strict=True))]
    assert parse(("x,y,kind\n" + "\n".join(lines)).encode()).rows[:2, 0].tolist() == [-135140, 1]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (pa.array(pd.period_range("2020-01", periods=ROWS, freq="M")), "pandas.period"),
        (pa.array(pd.arrays.IntervalArray.from_breaks(range(ROWS + 1))), "pandas.interval"),
    ],
    ids=["periods", "intervals"],
)
def test_extensions_of_pandas_are_refused_with_the_remedy(cells: pa.Array, kind: str) -> None:
    with pytest.raises(StepError, match=rf"column x: its cells are of the type extension<{kind}.*x: ignore"):
        parse(parquet_of(cells))


@pytest.mark.parametrize(
    ("cells", "kind"),
    [([[1, 2]] * ROWS, "list<element: int64>"), ([{"a": 1}] * ROWS, "struct<a: int64>"), ([b"\xff"] * ROWS, "binary")],
    ids=["lists", "structures", "bytes"],
)
def test_cells_that_no_model_reads_are_refused_with_the_remedy(cells: list[Any], kind: str) -> None:
    with pytest.raises(StepError) as refused:
        parse(parquet_of(cells))
    assert f"column x: its cells are of the type {kind}, which no model reads" in str(refused.value)
    assert "`columns: {x: ignore}`" in str(refused.value)
    assert parse(parquet_of(cells), x="ignore").features == ["y"]
    with pytest.raises(StepError, match="column x: its cells are of the type"):
        encode_rows(parquet.read_table(io.BytesIO(parquet_of(cells))), [{"name": "x", "type": "number"}])


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (pa.array([datetime.time(hour % 24) for hour in range(ROWS)]), r"time64\[us\]"),
        (pa.array([datetime.timedelta(seconds=row) for row in range(ROWS)]), r"duration\[us\]"),
    ],
    ids=["times", "durations"],
)
def test_times_without_a_date_are_refused_with_the_remedy(cells: pa.Array, kind: str) -> None:
    with pytest.raises(StepError, match=rf"column x: .* type {kind}, .*; write them as numbers, .*x: ignore"):
        parse(parquet_of(cells))
    assert parse(parquet_of(cells), x="ignore").features == ["y"]
    assert parse(parquet_of(pa.array([datetime.time(row % 2) for row in range(ROWS)])), x="category").types == [
        "category",
        "number",
    ]
