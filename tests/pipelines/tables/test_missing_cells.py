"""Missing cells: a listed text means its number or its date, in training, in batches and in the model server."""

from __future__ import annotations

import datetime
import decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.tables.test_columns import csv_of
from tests.pipelines.tables.test_parquet_tables import KINDS, ROWS, parquet_of
from tests.server.protocols.test_listed_values import answer, server_of
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.encoding import encode_column
from workloads.ml.data.scan import table_scan
from workloads.ml.errors import StepError

DAY, LAST = datetime.date(1970, 1, 3), datetime.date(9999, 12, 31)
NUMBER = [2, np.nan]


def cells_of(*values: Any, kind: pa.DataType | None = None) -> pa.Array:
    return pa.array(list(values) * (ROWS // len(values)), kind)


@pytest.mark.parametrize(
    ("cells", "missing_text", "codes"),
    [
        (cells_of(2, 999), "999.0", NUMBER),
        (cells_of(2.0, -99.9), -99.9, NUMBER),
        (cells_of(2.0, -99.9, kind=pa.float32()), -99.9, NUMBER),
        (cells_of(decimal.Decimal(2), decimal.Decimal(999), kind=pa.decimal128(10, 2)), 999, NUMBER),
        (cells_of(DAY, LAST), "9999-12-31", NUMBER),
        (cells_of(DAY, LAST).cast(pa.timestamp("us")), "9999-12-31T00:00:00Z", NUMBER),
    ],
    ids=["integer", "float", "float32", "decimal", "date", "moment"],
)
def test_parquet_cells_with_a_listed_value_are_missing(cells: pa.Array, missing_text: Any, codes: list[float]) -> None:
    columns = {"x": {"missing": True, "missing_texts": [missing_text]}}
    parsed = table_scan.parse(parquet_of(cells), "kind", columns=columns)
    assert np.array_equal(parsed.rows[:2, 0], np.array(codes, np.float32), equal_nan=True)


@pytest.mark.parametrize(
    ("cells", "missing_text", "csv_format", "spelled", "codes"),
    [
        (("2", "-999.0", "-999", " -999.00 "), -999, CsvFormat(), ["-999"], [2, *[np.nan] * 3]),
        (
            ("2,5", "-99", "-99,0"),
            "-99,0",
            CsvFormat(decimal=","),
            ["-99,0", "-99.0"],
            [2.5, *NUMBER[1:] * 2],
        ),
        (("1970-01-03", "9999-12-31T00:00:00Z"), "9999-12-31", CsvFormat(), ["9999-12-31"], NUMBER),
        (("true", "-1.0"), -1, CsvFormat(), ["-1"], [1, np.nan]),
    ],
    ids=["number", "decimal comma", "date", "boolean"],
)
def test_csv_cells_with_a_listed_value_are_missing_as_in_the_server(
    cells: tuple[str, ...], missing_text: Any, csv_format: CsvFormat, spelled: list[str], codes: list[float]
) -> None:
    content = csv_of(*(f'"{cell}"' for cell in cells))
    setting = {"missing": True, "missing_texts": [missing_text]}
    parsed = table_scan.parse(content, "kind", csv_format=csv_format, columns={"x": setting})
    schema = parsed.columns[0]
    assert schema["missing_texts"] == spelled
    found = parsed.rows[: len(cells), 0].tolist()
    np.testing.assert_array_equal(found, codes)
    batch = encode_column(pa.chunked_array([list(cells)]), schema, csv_format.decimal)
    np.testing.assert_array_equal(batch, codes)
    server = server_of(schema).parse_csv("x\n" + "\n".join(cell.replace(",", ".") for cell in cells) + "\n")
    np.testing.assert_array_equal(np.array(server)[:, 0], codes)


def test_regression_target_with_a_listed_number_is_left_out_whatever_its_spelling() -> None:
    values = [f"{row}.5" for row in range(ROWS - 2)] + ["-999", "-999.0"]
    numbers = pa.array([decimal.Decimal(value) for value in values], pa.decimal128(10, 2))
    csv = "x,y\n" + "".join(f"{row},{value}\n" for row, value in enumerate(values))
    columns = {"y": "ignore", "kind": {"missing": "drop", "missing_texts": [-999]}}
    of_parquet = table_scan.parse(parquet_of(np.arange(ROWS), numbers), "kind", columns=columns, task="regression")
    of_csv = table_scan.parse(csv.encode(), "y", columns={"y": columns["kind"]}, task="regression")
    for parsed in (of_parquet, of_csv):
        assert (len(parsed.labels), parsed.labels.min()) == (ROWS - 2, 0.5)


def test_codes_of_a_category_are_missing_by_their_spelling_alone() -> None:
    setting = {"type": "category", "missing": True, "missing_texts": ["7"]}
    parsed = table_scan.parse(csv_of("7", "007", "8"), "kind", columns={"x": setting})
    assert parsed.columns[0]["categories"] == ["007", "8"]
    assert [answer(server_of(parsed.columns[0]), text) for text in ("007", "8")] == [0, 1]
    assert np.isnan(parsed.rows[0, 0])


@pytest.mark.parametrize(
    ("cells", "missing_text", "remedy"),
    [
        (cells_of(2.5, -99.0), "-99,0", "of the type double; write the number as -99.0"),
        (cells_of(DAY, LAST), "31.12.9999", "of the type date32[day]; write the date as 2024-02-29"),
    ],
)
def test_listed_text_that_a_column_cannot_have_is_refused(cells: pa.Array, missing_text: str, remedy: str) -> None:
    with pytest.raises(StepError) as refused:
        table_scan.parse(parquet_of(cells), "kind", columns={"x": {"missing": True, "missing_texts": [missing_text]}})
    assert f"columns.x.missing_texts: '{missing_text}'; the cells of the file are {remedy}" in str(refused.value)


def test_listed_texts_of_a_whole_table_may_hold_for_columns_of_all_types() -> None:
    setting = {"missing": True, "missing_texts": ["NA", "?", -999, "9999-12-31"]}
    content = parquet_of(cells_of(DAY, LAST))
    parsed = table_scan.parse(content, "kind", columns={"x": setting, "y": setting})
    assert np.isnan(parsed.rows[1, 0])


def test_column_without_a_type_is_empty_and_texts_have_several_types() -> None:
    parsed = table_scan.parse(parquet_of(pa.nulls(ROWS)), "kind", columns={"x": {"type": "number", "missing": True}})
    assert np.isnan(parsed.rows[:, 0]).all()
    with pytest.raises(StepError, match="column x: all cells are empty"):
        table_scan.parse(parquet_of(pa.nulls(ROWS)), "kind")
    views = pa.array(["u", ""] * (ROWS // 2)).cast(pa.string_view())
    setting = {"type": "category", "missing": True}
    assert np.isnan(table_scan.parse(parquet_of(views, KINDS), "kind", columns={"x": setting}).rows[1, 0])
