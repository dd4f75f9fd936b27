"""Folders of files: one type for each column, files without rows, and columns in the names of folders."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from workloads.ml.batch.scoring_run import ScoringRun
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import find_files
from workloads.ml.data.scan.table_scan import TableScan, join_rows
from workloads.ml.data.scan.unit_reader import TableSource
from workloads.ml.data.table import Table
from workloads.ml.data.table_chunks import find_units, read_chunks
from workloads.ml.errors import StepError

ROWS = 40
BASE = pd.DataFrame({"x": np.arange(ROWS) / 10, "kind": ["a", "b"] * (ROWS // 2)})
WHOLE, FRACTIONS = np.arange(ROWS) % 5, np.arange(ROWS) % 5 + 0.5


def write(folder: Path, files: Mapping[str, Any]) -> Path:
    """Write tables, or bytes, by the path of their file, as CSV or Parquet."""
    for name, table in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(table, bytes):
            path.write_bytes(table)
        elif path.suffix == ".csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path, index=False)
    return folder


def read(folder: Path, **columns: Any) -> Table:
    source = TableSource(find_files("", "", "", f"{folder}/"), ["kind"], None, CsvFormat(), columns)
    return join_rows(TableScan(source).chunks())


def test_integers_in_one_file_and_fractions_in_another_are_numbers_in_any_order(tmp_path: Path) -> None:
    for number, (first, second) in enumerate(permutations([WHOLE, FRACTIONS])):
        files = {"1.parquet": BASE.assign(x=first), "2.parquet": BASE.assign(x=second)}
        parsed = read(write(tmp_path / str(number), files))
        assert parsed.types == ["number"]
        assert parsed.rows[:, 0].tolist() == [*first, *second]


@pytest.mark.parametrize("column", ["x", "kind"])
def test_other_types_in_two_files_are_refused_with_both_files(tmp_path: Path, column: str) -> None:
    texts = [str(value) for value in WHOLE % 2]
    files = {"1.parquet": BASE.assign(**{column: WHOLE % 2}), "2.parquet": BASE.assign(**{column: texts})}
    folder = write(tmp_path, files)
    with pytest.raises(StepError) as refused:
        read(folder)
    assert f"column {column}: of type text in {folder}/2.parquet, of type integer in {folder}/1.parquet" in str(
        refused.value
    )
    assert column == "kind" or read(folder, x="number").types == ["number"]


@pytest.mark.parametrize(
    "values", [WHOLE / 1, np.array(["u", "v"] * (ROWS // 2)), WHOLE > 2], ids=["n", "text", "bool"]
)
def test_file_without_values_of_a_column_has_the_type_of_the_others(tmp_path: Path, values: Any) -> None:
    empty, full = BASE.assign(x=pd.Series([None] * ROWS, dtype=object)), BASE.assign(x=values)
    for number, (first, second) in enumerate(permutations([empty, full])):
        folder = write(tmp_path / str(number), {"1.parquet": first, "2.parquet": second})
        kind = "category" if values.dtype.kind == "U" else "boolean" if values.dtype == bool else "number"
        setting = {"missing": True} | ({"type": kind} if kind == "category" else {})
        parsed = read(folder, x=setting)
        assert (parsed.types, np.isnan(parsed.rows).sum()) == ([kind], ROWS)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_classes_of_months_with_and_without_empty_cells_are_the_same(tmp_path: Path, kind: str) -> None:
    with_empty = BASE.assign(kind=[None, *(WHOLE[1:] % 2)])
    folder = write(tmp_path, {f"1.{kind}": BASE.assign(kind=WHOLE % 2), f"2.{kind}": with_empty})
    assert read(folder, kind={"missing": "drop"}).classes == ["0", "1"]


@pytest.mark.parametrize("empty", [BASE.head(0), b"", b"x,kind\n"], ids=["Parquet", "nothing", "header"])
def test_files_without_rows_are_left_out_unless_all_are(tmp_path: Path, empty: Any) -> None:
    kind = "csv" if isinstance(empty, bytes) else "parquet"
    only = write(tmp_path / "only", {f"1.{kind}": empty, f"2.{kind}": empty})
    with pytest.raises(StepError, match=f"no file of {only}/ has rows"):
        read(only)
    folder = write(tmp_path / "some", {f"1.{kind}": empty, f"2.{kind}": BASE, f"3.{kind}": empty})
    assert len(read(folder).rows) == ROWS
    units = find_units(find_files("", "", "", f"{folder}/"), CsvFormat())
    assert [unit.file.address for unit in units] == [f"{folder}/2.{kind}"]


def test_row_groups_without_rows_are_left_out(tmp_path: Path) -> None:
    table = pa.Table.from_pandas(BASE)
    with parquet.ParquetWriter(tmp_path / "1.parquet", table.schema) as writer:
        for part in (table.slice(0, 0), table, table.slice(0, 0)):
            writer.write_table(part)
    (unit,) = find_units(find_files("", "", "", f"{tmp_path}/"), CsvFormat())
    assert unit.row_groups == (1,)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_names_of_folders_are_columns_of_training_and_batch(tmp_path: Path, kind: str) -> None:
    files = {
        f"region=New%20York/year=2024/1.{kind}": BASE,
        f"region=eu/year=2023/1.{kind}": BASE,
        f"region=__HIVE_DEFAULT_PARTITION__/year=2023/1.{kind}": BASE,
    }
    folder = write(tmp_path, files)
    setting = {"type": "category", "missing": True}
    parsed = read(folder, region=setting)
    assert parsed.features == ["x", "region", "year"]
    assert parsed.types == ["number", "category", "integer"]
    assert parsed.columns[1]["categories"] == ["New York", "eu"]
    assert parsed.rows[::ROWS, 1:].tolist()[0] == [0, 2024]
    assert read(folder, region="ignore", year="ignore").features == ["x"]
    run = ScoringRun(find_files("", "", "", f"{folder}/"), None, "", CsvFormat())  # type: ignore[arg-type]
    tables = [next(read_chunks(unit, run.csv_format)) for unit in run.units]
    assert [table.column("region")[0].as_py() for table in tables] == ["New York", None, "eu"]


def test_column_of_a_file_counts_before_the_name_of_its_folder(tmp_path: Path) -> None:
    folder = write(tmp_path, {"X=9/1.parquet": BASE, "X=8/1.parquet": BASE})
    assert read(folder).features == ["x"]
