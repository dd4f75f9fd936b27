"""Tables: CSV and Parquet files read with the user's names, types and classes, or refused with the remedy."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.pipelines.conftest import IRIS, Run, run
from tests.pipelines.scored import score_csv
from workloads.ml import model_registry
from workloads.ml.data import table
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.scan import table_scan
from workloads.ml.data.table import save_table
from workloads.ml.errors import StepError
from workloads.ml.model import forest
from workloads.ml.model.model_directory import load_model_directory

KINDS = ["low", "mid", "high"]


def rows_as_csv(header: str, *columns: object, count: int = 30, separator: str = ",") -> str:
    """Return a CSV file; a column is a function of the row number, or a value for all rows."""
    lines = [
        separator.join(str(column(number) if callable(column) else column) for column in columns)
        for number in range(count)
    ]
    return "\n".join([header, *lines]) + "\n"


def measured(number: int) -> str:
    return f"{number / 7:.3f}"


def kind(number: int) -> str:
    return KINDS[number % 3]


GOOD = rows_as_csv("width,height,kind", measured, lambda number: 30 - number, kind)


def refusal(content: str | bytes, target: str = "kind", **csv_format: str) -> str:
    """Return the message of the error that reading the table raises."""
    data = content if isinstance(content, bytes) else content.encode()
    with pytest.raises(StepError) as refused:
        table_scan.parse(data, target, csv_format=CsvFormat.from_mapping(csv_format))
    return str(refused.value)


def assert_equals_good(parsed: table.Table) -> None:
    expected = table_scan.parse(GOOD.encode(), "kind")
    assert (parsed.features, parsed.types, parsed.classes) == (expected.features, expected.types, expected.classes)
    assert (parsed.rows == expected.rows).all()
    assert (parsed.labels == expected.labels).all()


def test_parse_row_with_extra_value_raises_error_with_numbers() -> None:
    content = rows_as_csv("grade,width,height", 0, lambda number: number % 2, measured, measured)
    assert refusal(content, "grade").startswith("row 1 has 4 values, the header 3")


def test_parse_row_with_missing_value_raises_error_with_numbers() -> None:
    assert refusal(GOOD + "1,2\n").startswith("row 31 has 2 values, the header 3")


@pytest.mark.parametrize(
    "names", [["编号", "密度", "含糖率", "好瓜"], ["Höhe", "größe ²", "Ширина", "είδος"], ["p (%)", "Q", "ناتج", "نوع"]]
)
def test_parse_names_in_any_script_keeps_them(names: list[str]) -> None:
    content = rows_as_csv(",".join(names), lambda number: number + 1, measured, measured, lambda n: "是否"[n % 2])
    parsed = table_scan.parse(content.encode(), names[-1])
    assert (parsed.features, parsed.target, parsed.classes) == (names[:-1], names[-1], ["否", "是"])


def test_parse_classes_keeps_their_text() -> None:
    content = rows_as_csv("width,code", measured, lambda number: ["1E2", "100", "200", "007"][number % 4])
    assert table_scan.parse(content.encode(), "code").classes == ["007", "100", "1E2", "200"]


def test_parse_class_names_that_are_not_finite_numbers_sorts_them_as_text() -> None:
    content = rows_as_csv("width,code", measured, lambda number: ["2", "inf", "10"][number % 3])
    assert table_scan.parse(content.encode(), "code").classes == ["10", "2", "inf"]


@pytest.mark.parametrize("spelling", ["True False", "true false", "TRUE FALSE"])
def test_parse_truth_values_become_one_and_zero(spelling: str) -> None:
    yes, no = spelling.split()
    content = rows_as_csv("width,red,kind", measured, lambda number: yes if number % 3 else no, kind)
    parsed = table_scan.parse(content.encode(), "kind")
    assert parsed.types == ["number", "boolean"]
    assert parsed.rows[:, 1].tolist() == [float(number % 3 > 0) for number in range(30)]


def test_batch_scoring_of_truth_values_predicts_as_trained(tmp_path: Path) -> None:
    content = rows_as_csv(
        "width,red,blue,kind", measured, lambda n: n % 3 == 0, lambda n: n % 3 == 1, lambda n: KINDS[n % 3]
    )
    parsed = table_scan.parse(content.encode(), "kind")
    save_table(str(tmp_path / "all"), parsed, np.ones(30, dtype=bool))
    forest.train_forest(str(tmp_path / "all"), tmp_path / "model", "dummies", 20, 0)
    model = load_model_directory(tmp_path / "model")
    assert [feature["type"] for feature in model.signature["features"]] == ["number", "boolean", "boolean"]
    scored, _ = score_csv(content.encode(), model, "")
    classes = [row["class"] for row in csv.DictReader(io.StringIO(scored.decode()))]
    assert classes == [KINDS[number % 3] for number in range(30)]


@pytest.mark.parametrize("name", ['""', "", "Unnamed: 0"])
@pytest.mark.parametrize("first", [0, 1])
def test_parse_unnamed_row_number_raises_error_with_remedy(name: str, first: int) -> None:
    message = refusal(rows_as_csv(f"{name},width,kind", lambda number: number + first, measured, kind))
    assert message.startswith("column 1 has no name and holds row numbers; write the file without row numbers")
    assert "index=False" in message
    assert "row.names = FALSE" in message


def test_parse_unnamed_column_of_values_raises_error() -> None:
    assert "each column needs a unique name" in refusal(rows_as_csv(",width,kind", measured, measured, kind))


def test_parse_doubled_name_raises_error() -> None:
    message = refusal(rows_as_csv("width,width,kind", measured, measured, kind))
    assert message.endswith("found: width, width, kind")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_parse_detects_separator(separator: str) -> None:
    assert_equals_good(table_scan.parse(GOOD.replace(",", separator).encode(), "kind"))


def test_parse_unusual_separator_is_read_if_set() -> None:
    content = GOOD.replace(",", "~").encode()
    assert_equals_good(table_scan.parse(content, "kind", csv_format=CsvFormat(separator="~")))


def test_parse_ambiguous_separator_raises_error_with_both_readings() -> None:
    message = refusal(rows_as_csv("a,b;kind", "1,2;x"), "kind")
    assert "comma (2 columns) or semicolon (2 columns); set csv_format.separator" in message


def test_parse_decimal_comma_raises_error_unless_set() -> None:
    content = GOOD.replace(",", ";").replace(".", ",")
    assert "row 1: '0,000'" in refusal(content)
    assert "if the comma is a decimal comma, set csv_format.decimal to ','" in refusal(content)
    assert_equals_good(table_scan.parse(content.encode(), "kind", csv_format=CsvFormat(decimal=",")))


def test_parse_decimal_point_with_decimal_comma_set_raises_error() -> None:
    assert "column width, row 1: '0.000'" in refusal(GOOD, decimal=",")


def test_parse_quoted_cells_and_line_breaks_are_read() -> None:
    content = '"width, in ""mm""","kind"\r\n' + '"1.5","a\nb"\r\n2.5,"c, d"\r\n' * 5
    parsed = table_scan.parse(content.encode(), "kind")
    assert (parsed.features, parsed.classes) == (['width, in "mm"'], ["a\nb", "c, d"])
    assert parsed.rows[:2, 0].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("compressed", [False, True])
def test_parse_detects_encoding_and_gzip_by_content(encoding: str, compressed: bool) -> None:
    content = GOOD.encode(encoding)
    assert_equals_good(table_scan.parse(gzip.compress(content) if compressed else content, "kind"))


def test_parse_latin_1_raises_error_unless_set() -> None:
    content = GOOD.replace("height", "höhe").encode("latin-1")
    assert "set csv_format.encoding, for example to latin-1" in refusal(content)
    parsed = table_scan.parse(content, "kind", csv_format=CsvFormat(encoding="latin-1"))
    assert parsed.features == ["width", "höhe"]


def test_parse_utf_16_without_byte_order_mark_raises_error_unless_set() -> None:
    content = GOOD.encode("utf-16-le")
    assert "null bytes; set csv_format.encoding" in refusal(content)
    assert_equals_good(table_scan.parse(content, "kind", csv_format=CsvFormat(encoding="utf-16-le")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04rest", "a ZIP archive or an Excel workbook; save the table as CSV or Parquet"),
        (b"\x1f\x8brest", "begin like a gzip file but cannot be decompressed"),
        (b"PAR1rest", "begin like a Parquet file but cannot be read"),
    ],
)
def test_parse_damaged_or_other_file_raises_error_with_format(content: bytes, message: str) -> None:
    assert message in refusal(content)


@pytest.mark.parametrize(
    ("csv_format", "message"),
    [
        ({"seperator": ";"}, "unknown key seperator; the keys are: separator, decimal, encoding"),
        ({"separator": "::"}, "csv_format.separator: '::'"),
        ({"decimal": "'"}, 'csv_format.decimal: "\'"'),
        ({"encoding": "klingon"}, "'klingon' is not an encoding"),
    ],
)
def test_parse_invalid_csv_format_raises_error(csv_format: dict[str, str], message: str) -> None:
    assert message in refusal(GOOD, **csv_format)


def test_parse_parquet_reads_types_of_the_file() -> None:
    frame = pd.DataFrame(
        {
            "größe": np.linspace(0, 1, 30),
            "count": np.arange(30),
            "red": np.arange(30) % 2 == 0,
            "kind": pd.Categorical([KINDS[number % 3] for number in range(30)]),
        }
    )
    parsed = table_scan.parse(frame.to_parquet(index=False), "kind")
    assert (parsed.features, parsed.classes) == (["größe", "count", "red"], sorted(KINDS))
    assert parsed.types == ["number", "integer", "boolean"]
    assert np.allclose(parsed.rows, frame.drop(columns="kind").astype(np.float32))


def test_load_description_returns_description_of_whole_table(tmp_path: Path) -> None:
    parsed = table_scan.parse(GOOD.encode(), "kind", "file:///good.csv")
    save_table(str(tmp_path / "part"), parsed, np.arange(30) < 10)
    assert table.load_description(str(tmp_path / "part")) == parsed.description
    assert parsed.description["rows"] == 30


def train(folder: Path, data: Path, mlflow_url: str, **arguments: object) -> Run:
    """Run the pipeline iris-external on a file."""
    return run(folder / "run", "iris-external", tracking_url=mlflow_url, data_url=str(data), baseline=0.1, **arguments)


def test_iris_external_with_5000_columns_registers_model(mlflow_url: str, tmp_path: Path) -> None:
    columns, file = 5000, tmp_path / "wide.csv"
    values = np.random.default_rng(0).normal(size=(60, columns)).round(3)
    frame = pd.DataFrame(values, columns=[f"measurement number {number}" for number in range(columns)])
    frame = frame.assign(kind=["a" if row < 30 else "b" for row in range(60)])
    frame.iloc[:30, :50] += 3
    frame.to_csv(file, index=False)
    ended = train(tmp_path, file, mlflow_url, target="kind", model_name="wide", trees=20)
    assert ended.result["state"] == "SUCCEEDED", ended.result["error"]
    assert len(model_registry.fetch(mlflow_url, "wide", "1").signature["features"]) == columns


def test_iris_external_with_csv_format_reads_the_file(mlflow_url: str, tmp_path: Path) -> None:
    content, file = IRIS.read_text().replace(",", ";").replace(".", ","), tmp_path / "iris.csv"
    file.write_bytes(content.replace("Species", "Ärt").encode("latin-1"))
    csv_format = {"decimal": ",", "encoding": "latin-1"}
    ended = train(tmp_path, file, mlflow_url, target="Ärt", model_name="german", csv_format=csv_format)
    assert ended.outputs["deployed"], ended.result["error"]
    assert model_registry.fetch(mlflow_url, "german", "1").signature["target"] == "Ärt"


def test_iris_external_with_row_numbers_fails_with_remedy(mlflow_url: str, tmp_path: Path) -> None:
    numbered = [f'"{number or ""}",{line}' for number, line in enumerate(IRIS.read_text().splitlines())]
    (tmp_path / "iris.csv").write_text("\n".join(numbered))
    ended = train(tmp_path, tmp_path / "iris.csv", mlflow_url)
    assert ended.result["failed_step"] == "preprocess-data"
    assert "row.names = FALSE" in ended.result["error"]
