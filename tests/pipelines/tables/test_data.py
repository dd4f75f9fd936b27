"""External data: read, checked and split, or refused with one sentence."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.pipelines.conftest import IRIS
from workloads.ml.data import storage, table
from workloads.ml.data.data_files import find_files
from workloads.ml.data.encoding import find_columns
from workloads.ml.data.scan import table_scan
from workloads.ml.data.storage import read_data, write_data
from workloads.ml.data.table import load_table, save_table
from workloads.ml.errors import StepError

ROWS = "".join(f"{i},{i / 10},{'ab'[i % 2]}\n" for i in range(10))
GOOD = f"width,height,kind\n{ROWS}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SepalLengthCm", "sepal_length_cm"),
        ("sepal length (cm)", "sepal_length_cm"),
        ("Sepal.Length.Cm", "sepal_length_cm"),
        ("od280/od315_of_diluted_wines", "od280_od315_of_diluted_wines"),
        ("BMI", "bmi"),
        ("pixel_0_7", "pixel_0_7"),
    ],
)
def test_find_columns_ignores_case_and_punctuation(name: str, expected: str) -> None:
    assert find_columns(pa.table({"other": [1], name: [2]}), [expected]) == [name]


def test_parse_iris_returns_names_and_classes() -> None:
    iris = table_scan.parse(IRIS.read_bytes(), "Species")
    assert iris.features == ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    assert iris.classes == ["setosa", "versicolor", "virginica"]
    assert iris.rows.shape == (150, 4)
    assert np.bincount(iris.labels).tolist() == [50, 50, 50]


def test_parse_numeric_classes_sorts_them_by_value() -> None:
    rows = "".join(f"{i},{digit}\n" for i in range(5) for digit in (10, 9, 2))
    assert table_scan.parse(f"x,digit\n{rows}".encode(), "digit").classes == ["2", "9", "10"]


def test_parse_long_file_with_text_classes_at_the_end_reads_all_classes_as_text() -> None:
    content = "x,kind\n" + "0.5,1\n" * 600_000 + "0.5,a\n" * 5
    found = table_scan.parse(content.encode(), "kind")
    assert (found.classes, np.bincount(found.labels).tolist()) == (["1", "a"], [600_000, 5])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a CSV table"),
        ("width,kind\n", "a header but no rows"),
        (GOOD.replace("kind", "sort"), "no column 'kind'; the columns are: width, height, sort"),
        (GOOD.replace(",", "~"), "no column 'kind'"),
        ("kind\n" + "a\nb\n" * 5, "kind is the only column"),
        (
            GOOD.replace("3,0.3,b", "3,tall,b"),
            "column height, row 4: 'tall'; 9 of 10 cells are numbers, this one is not",
        ),
        (GOOD.replace("3,0.3,b", "3,,b"), "column height, row 4: empty"),
        (GOOD.replace("3,0.3,b", "3,inf,b"), "column height, row 4: 'inf'"),
        (GOOD.replace("3,0.3,b", "3,1e39,b"), "column height, row 4: '1e39'"),
        (GOOD.replace("3,0.3,b", "3,0.3,"), "column kind, row 4: empty; every row needs a class"),
        (GOOD.replace("b\n", "a\n"), "column kind has one class only, a"),
        (GOOD.replace("3,0.3,b", "3,0.3,c"), "class c of column kind has 1 of 10 rows; each class needs at least 5"),
        (
            GOOD.replace("width,height", "Side Length,side_length"),
            "each column needs a unique name, case and punctuation aside; found: Side Length, side_length",
        ),
        (GOOD + "1,2,3,4,5\n", "row 11 has 5 values, the header 3"),
    ],
)
def test_parse_invalid_data_raises_error(content: str, message: str) -> None:
    with pytest.raises(StepError) as refused:
        table_scan.parse(content.encode(), "kind")
    assert message in str(refused.value)


def test_parse_bytes_without_encoding_raises_error() -> None:
    with pytest.raises(StepError, match="not a CSV table in UTF-8"):
        table_scan.parse(b"width,kind\n\xff\xfe,a\n", "kind")


def test_parse_byte_order_mark_is_ignored() -> None:
    assert table_scan.parse(b"\xef\xbb\xbf" + GOOD.encode(), "kind").features == ["width", "height"]


def test_split_keeps_class_shares_and_depends_on_seed() -> None:
    labels = np.repeat(np.arange(3), (50, 25, 5))
    train, test = table.split(labels, seed=0)
    assert np.bincount(labels[train]).tolist() == [40, 20, 4]
    assert np.bincount(labels[test]).tolist() == [10, 5, 1]
    assert not (train & test).any()
    assert (table.split(labels, seed=0)[1] == test).all()
    assert (table.split(labels, seed=1)[1] != test).any()


def test_load_saved_part_returns_identical_values(tmp_path: Path) -> None:
    iris = table_scan.parse(IRIS.read_bytes(), "Species")
    train, _ = table.split(iris.labels, seed=0)
    save_table(str(tmp_path / "train.csv"), iris, train)
    rows, labels = load_table(str(tmp_path / "train.csv"))
    assert (rows == iris.rows[train]).all()
    assert (labels == iris.labels[train]).all()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/iris.csv?sig=SECRET", "https://host/iris.csv"),
        ("https://user:SECRET@host:81/iris.csv", "https://host:81/iris.csv"),
        ("s3://bucket/iris.csv", "s3://bucket/iris.csv"),
        ("file:///data/iris.csv", "file:///data/iris.csv"),
    ],
)
def test_without_secrets_removes_login_and_query(url: str, shown: str) -> None:
    assert storage.without_secrets(url) == shown


def test_data_in_the_address_itself_is_read_and_never_shown() -> None:
    address = f"data:text/csv;base64,{b64encode(GOOD.encode()).decode()}"
    (file,) = find_files("", "", "", address)
    with file.open() as content:
        assert content.read().decode() == GOOD
    assert file.address == "data:text/csv;base64,..."
    with pytest.raises(StepError) as refused:
        find_files("", "", "", "data:text/csv;base64:YSxiCg==")
    assert "YSxiCg" not in str(refused.value)


def test_read_missing_file_raises_error_with_address(tmp_path: Path) -> None:
    with pytest.raises(StepError, match=r"data_url: file:///.*/missing.csv cannot be read: FileNotFoundError"):
        read_data("", "", "", (tmp_path / "missing.csv").as_uri())


def test_read_failed_address_raises_error_without_secrets() -> None:
    with pytest.raises(StepError) as refused:
        read_data("", "", "", "https://user:SECRET@127.0.0.1:9/iris.csv?sig=SECRET")
    assert "https://127.0.0.1:9/iris.csv cannot be read" in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_read_incomplete_blob_address_raises_error() -> None:
    with pytest.raises(StepError, match="container, blob: empty; give all of account_url, container, blob"):
        read_data("https://account", "", "", "")


def test_read_blob_without_token_raises_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(storage.TOKEN_VARIABLE, raising=False)
    with pytest.raises(StepError, match="AZURE_STORAGE_SAS_TOKEN is not set"):
        read_data("https://account", "datasets", "iris.csv", "")


def test_read_blob_from_an_unreachable_account_raises_error_without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(storage.TOKEN_VARIABLE, "sv=2026&sig=SECRET")
    with pytest.raises(StepError) as refused:
        read_data("http://127.0.0.1:9/account", "datasets", "iris.csv", "")
    assert "account_url: http://127.0.0.1:9/account cannot be reached" in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_write_failed_raises_error_with_address(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StepError, match=r"destination: file:///.*/file/answers.csv cannot be written"):
        write_data((tmp_path / "file" / "answers.csv").as_uri(), IRIS)
