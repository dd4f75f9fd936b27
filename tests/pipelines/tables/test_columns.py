"""Columns: types that are certain, or said by the user, or refused with the lines to write in `columns`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.pipelines.flats import COLUMNS, flats_csv
from workloads.ml.data import table
from workloads.ml.data.data_report import data_page
from workloads.ml.data.findings import find_suspicions
from workloads.ml.data.scan import table_scan
from workloads.ml.errors import StepError


def csv_of(*cells: str, count: int = 40) -> bytes:
    """Return a table with the column `x`, whose cells repeat, and the classes a and b."""
    lines = [f"{cells[row % len(cells)]},{row},{'ab'[row // 5 % 2]}" for row in range(count)]
    return ("x,y,kind\n" + "\n".join(lines) + "\n").encode()


def parse(content: bytes, x: Any = None, target: str = "kind", **arguments: Any) -> table.Table:
    return table_scan.parse(content, target, columns={} if x is None else {"x": x}, **arguments)


def refusal(content: bytes, x: Any = None, target: str = "kind", **arguments: Any) -> str:
    with pytest.raises(StepError) as refused:
        parse(content, x, target, **arguments)
    return str(refused.value)


@pytest.mark.parametrize(
    ("cells", "setting", "codes", "schema"),
    [
        (("red", "blue"), None, [1, 0], {"type": "category", "categories": ["blue", "red"]}),
        (("low", "high"), {"type": "category", "categories": ["low", "high"]}, [0, 1], {"categories": ["low", "high"]}),
        (("00501", "10"), "category", [0, 1], {"type": "category", "categories": ["00501", "10"]}),
        (("00501", "10"), "integer", [501, 10], {"type": "integer"}),
        (("1970-01-02", "1970-01-03T12:00:00Z"), None, [1, 2.5], {"type": "date"}),
        (("1970-01-02T01:00:00+01:00", "1969-12-31"), None, [1, -1], {"type": "date"}),
        (("True", "false"), None, [1, 0], {"type": "boolean"}),
        (("1", "0"), "boolean", [1, 0], {"type": "boolean"}),
        (("1.5", ""), {"missing": True}, [1.5, np.nan], {"type": "number", "missing": True}),
        (("1.5", "NA"), {"missing": True, "missing_texts": ["NA"]}, [1.5, np.nan], {"missing_texts": ["NA"]}),
        (("2024", "?"), {"missing": True, "missing_texts": "?"}, [2024, np.nan], {"type": "integer"}),
        (("red", ""), {"type": "category", "missing": True}, [0, np.nan], {"categories": ["red"], "missing": True}),
        (("true", ""), {"missing": True}, [1, np.nan], {"type": "boolean", "missing": True}),
        (("1970-01-02", ""), {"missing": True}, [1, np.nan], {"type": "date", "missing": True}),
        (("123456789", "1"), "number", [123456792, 1], {"type": "number"}),
    ],
)
def test_parse_typed_column_encodes_its_cells(
    cells: tuple[str, ...], setting: Any, codes: list[float], schema: dict[str, Any]
) -> None:
    parsed = parse(csv_of(*cells), setting)
    assert np.array_equal(parsed.rows[:2, 0], np.array(codes, np.float32), equal_nan=True)
    assert schema.items() <= parsed.columns[0].items()


@pytest.mark.parametrize(
    ("cells", "setting", "message"),
    [
        (("00501", "10"), None, "column x, row 1: '00501' is a code or an integer with leading zeros; write `columns:"),
        (("1", "16777217"), None, "column x, row 2: 16777217 is larger than 2^24"),
        (("1", "16777217"), "integer", "round it with `columns: {x: number}`"),
        (
            ("1", ""),
            None,
            "column x, row 2: empty; to allow that, train with `columns: {x: {type",
        ),
        (("1", "NA"), None, "column x, row 2: 'NA'; 20 of 40 cells are numbers, this one is not; if it is a missing"),
        (("1", "NA"), {"missing_texts": ["NA"]}, "column x, row 2: 'NA' means a missing value; to allow that"),
        (("1", "one"), None, "if the column holds texts, write `columns: {x: category}`"),
        (("red", "NA"), None, "column x, row 2: 'NA' is a category or a missing value; write `columns: {x: {type:"),
        (("31.12.2024",), None, "column x, row 1: '31.12.2024' may be a date; write dates as"),
        (("",), None, "column x: all cells are empty; leave the column out with `columns: {x: ignore}`"),
        (("red",), "number", "column x, row 1: 'red'; the column is of type number, so each cell must be a number"),
        (
            ("1", "2.5"),
            "integer",
            "column x, row 2: '2.5'; the column is of type integer, so each cell must be an integer",
        ),
        (("2",), "boolean", "column x, row 1: '2'; the column is of type boolean, so each cell must be true or false"),
        (("2024-02-30",), None, "column x, row 1: '2024-02-30'; the column is of type date"),
        (("red",), {"type": "category", "categories": ["blue"]}, "'red' is not one of the categories blue"),
        (
            ("1",),
            "numeric",
            "columns.x.type: 'numeric'; it must be one of number, integer,",
        ),
        (("1",), {"mising": True}, "columns.x: unknown key mising; the keys are: type, missing, missing_texts,"),
        (("1",), {"missing": "yes"}, "columns.x.missing: 'yes'; it must be true, false or drop"),
        (("1",), {"unknown": True}, "columns.x: categories and unknown need `type: category`"),
        (("1",), {"unit": "EUR"}, "columns.x.unit: only a target has a unit"),
        (("1",), 3, "columns.x: 3; it must be one of"),
    ],
)
def test_parse_uncertain_column_raises_error_with_remedy(cells: tuple[str, ...], setting: Any, message: str) -> None:
    assert message in refusal(csv_of(*cells), setting)


def test_parse_other_dates_raises_error_with_format() -> None:
    content = csv_of(*(f"{day}.12.2024" for day in range(1, 31)))
    assert "column x, row 1: '1.12.2024' may be a date; write dates as 2024-02-29" in refusal(content)


def test_parse_free_text_raises_error_with_number_of_values() -> None:
    content = csv_of(*(f"text {chr(97 + row % 26)}{row}" for row in range(40)))
    assert "the column holds text with 40 different values in 40 rows" in refusal(content)


def test_parse_reports_every_uncertain_column_at_once() -> None:
    with pytest.raises(StepError) as refused:
        table_scan.parse(flats_csv(), "fast")
    lines = str(refused.value).splitlines()
    assert [line.split(",")[0] for line in lines] == [f"column {name}" for name in COLUMNS]


def test_parse_unknown_or_doubled_name_in_columns_raises_error() -> None:
    with pytest.raises(StepError, match="columns: there is no column 'z'; the columns are: x, y, kind"):
        table_scan.parse(csv_of("1"), "kind", columns={"z": "number"})
    with pytest.raises(StepError, match="columns: column x is named twice"):
        table_scan.parse(csv_of("1"), "kind", columns={"x": "number", "X": "integer"})


def test_parse_ignored_column_is_no_feature_and_decisions_are_named() -> None:
    parsed = table_scan.parse(csv_of("red", "blue"), "kind", columns={"Y": "ignore"})
    assert parsed.features == ["x"]
    assert parsed.decisions == [
        "column x: 2 categories, because of its cells: blue, red",
        "column y: ignored, as columns says",
    ]


def test_parse_parquet_with_nulls_and_types_encodes_as_csv() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.5, None] * 10,
            "code": [3, -999] * 10,
            "count": pd.array([1, None] * 10, dtype="Int64"),
            "flag": pd.array([True, None] * 10, dtype="boolean"),
            "colour": pd.Categorical(["red", None] * 10),
            "day": pd.to_datetime(["1970-01-02", None] * 10),
            "kind": ["a"] * 10 + ["b"] * 10,
        }
    )
    columns = {name: {"missing": True, "missing_texts": [-999]} for name in frame.columns[:-1]}
    parsed = table_scan.parse(frame.to_parquet(index=False), "kind", columns=columns)
    assert parsed.types == ["number", "integer", "integer", "boolean", "category", "date"]
    assert parsed.rows[0].tolist() == [1.5, 3, 1, 1, 0, 1]
    assert np.isnan(parsed.rows[1]).all()


def test_parse_rows_without_target_are_refused_or_dropped() -> None:
    content = flats_csv().replace(b",yes,", b",,", 3)
    kept = {**COLUMNS, "price": "ignore"}
    with pytest.raises(StepError, match=r"column fast, row \d+: empty; .* write `columns: {fast: {missing: drop}}`"):
        table_scan.parse(content, "fast", columns=kept)
    parsed = table_scan.parse(content, "fast", columns={**kept, "fast": {"missing": "drop"}})
    assert len(parsed.labels) == 117
    assert "column fast: 3 rows without a value are left out, as columns says" in parsed.decisions


@pytest.mark.parametrize(
    ("target", "task", "message"),
    [
        ("price", "", "column price holds 116 different numbers, such as 94.6; set `task: regression` to predict the"),
        ("price", "classification", "class 94.6 of column price has 1 of 120 rows"),
        ("price", "regresion", "task: 'regresion'; it must be classification, regression, anomaly, or empty"),
        ("fast", "regression", "column fast, row 1: 'no'; the column is of type number"),
        (["price", "rooms"], "", "several targets need `task: regression`"),
        (["price", "Price"], "regression", "target: column price is named twice"),
    ],
)
def test_parse_numeric_target_without_task_raises_error_with_both_readings(
    target: Any, task: str, message: str
) -> None:
    with pytest.raises(StepError) as refused:
        table_scan.parse(flats_csv(), target, columns=COLUMNS, task=task)
    assert message in str(refused.value)


def test_parse_few_integers_are_classes_unless_task_is_set() -> None:
    kept = {**COLUMNS, "fast": "ignore", "price": "ignore"}
    assert table_scan.parse(flats_csv(), "rooms", columns=kept).classes == ["1", "2", "3", "4", "5"]
    parsed = table_scan.parse(flats_csv(), "rooms", columns=kept, task="regression")
    assert parsed.classes == []
    assert parsed.labels.dtype == np.float64
    assert sorted(set(parsed.labels)) == [1, 2, 3, 4, 5]


def test_suspicions_name_leaks_constants_and_counted_rows() -> None:
    rows = "".join(
        f"{row},{['open', 'sold'][row % 3 > 0]},7,{row * 37 % 11},{'ny'[row % 3 > 0]}\n" for row in range(90)
    )
    parsed = table_scan.parse(f"id,status,level,noise,deal\n{rows}".encode(), "deal")
    id_line, status, level = find_suspicions(parsed)
    assert id_line.startswith("column id: it counts the rows")
    assert status.startswith("column status: it explains 100.0% of deal alone; if it is known only after deal")
    assert level.startswith("column level: all values are equal")


def test_suspicions_of_regression_name_rescaled_target() -> None:
    random = np.random.default_rng(0)
    price = random.lognormal(5, 1, 200)
    rows = "".join(f"{value * 1.1:.4f},{random.normal():.3f},{value:.4f}\n" for value in price)
    parsed = table_scan.parse(f"dollars,noise,euros\n{rows}".encode(), "euros", task="regression")
    (line,) = find_suspicions(parsed)
    assert line.startswith("column dollars: it explains 100.0% of euros alone")


def test_data_page_shows_columns_missing_values_and_warnings() -> None:
    parsed = table_scan.parse(flats_csv(), "price", columns={**COLUMNS, "price": {"unit": "k<EUR>"}}, task="regression")
    page = data_page(parsed, ["column x: <b>"])
    assert "120 rows, 7 features, regression of price in k&lt;EUR&gt;" in page
    assert '<li class="warning">column x: &lt;b&gt;</li>' in page
    assert all(f"<td>{name}</td>" in page for name in parsed.features)


@pytest.mark.parametrize("kind", ["number", "integer", "boolean", "date"])
def test_data_page_shows_a_column_without_values(kind: str) -> None:
    parsed = parse(csv_of("", "").replace(b"x,y", b"x,z"), {"type": kind, "missing": True})
    assert find_suspicions(parsed)[0] == "column x: 100% of the values are missing"
    assert f"<td>x</td><td>{kind}</td><td>100.0%</td><td></td>" in data_page(parsed, [])


def test_parse_digits_of_another_script_are_texts() -> None:
    assert parse(csv_of("\u0661", "\u0662")).columns[0]["categories"] == ["\u0661", "\u0662"]
    assert "'\u0661'; 20 of 40 cells are numbers, this one is not" in refusal(csv_of("\u0661", "2"))


def target_of(*cells: float) -> bytes:
    return ("x,y\n" + "\n".join(f"{row},{cells[row % len(cells)]}" for row in range(40))).encode()


@pytest.mark.parametrize("first", [1_700_000_000, -1e12])
def test_parse_target_that_float32_would_round_is_refused(first: float) -> None:
    message = "the numbers of column y .* would be rounded by up to .*; subtract a number near their mean"
    with pytest.raises(StepError, match=message):
        table_scan.parse(target_of(first, first + 49), "y", task="regression")


def test_parse_target_of_equal_large_numbers_has_nothing_to_predict() -> None:
    with pytest.raises(StepError, match="all numbers of column y are 1"):
        table_scan.parse(target_of(1_700_000_000), "y", task="regression")


def test_parse_target_keeps_its_numbers() -> None:
    parsed = table_scan.parse(target_of(0.1, 16_777_217.5), "y", task="regression")
    assert parsed.labels[:2].tolist() == [0.1, 16_777_217.5]
