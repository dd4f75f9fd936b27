"""Batch prediction of large files: in chunks, in parts that a later run completes, and in shards."""

from __future__ import annotations

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from settings.paths import PROJECT
from tests.pipelines.models import save_linear
from workloads.ml.batch import scoring_run
from workloads.ml.batch.parts_folder import MANIFEST, RECORDS, PartsFolder
from workloads.ml.batch.scoring_run import ScoringRun
from workloads.ml.data import table_chunks
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import find_files
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import load_model_directory

ROWS = 200_000
KILLED_RUN = """
import os, signal, sys
from tests.pipelines.scoring import test_batch
from workloads.ml.evaluation.predictor import Predictor
answer, calls = Predictor.answer, []
def killed(self, rows):
    calls.append(rows)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(self, rows)
Predictor.answer = killed
test_batch.small_parts()
test_batch.score(*sys.argv[1:])
"""


def small_parts() -> None:
    """Make a part of each chunk."""
    scoring_run.PART_CHUNKS = 1


@pytest.fixture
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring_run, "PART_CHUNKS", 1)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model whose value is a + 2 b."""
    return save_linear(tmp_path / "model", [1, 2])


def new_run(model: str | Path, url: str) -> ScoringRun:
    return ScoringRun(find_files("", "", "", url), load_model_directory(Path(model)), "", CsvFormat())


def score(model: str | Path, url: str, destination: str) -> int:
    """Predict files into a folder of parts and return the number of rows that were predicted now."""
    run = new_run(model, url)
    folder = PartsFolder(destination, run.key())
    folder.prepare()
    rows = run.write_parts(folder)
    folder.finish(len(run.units), {})
    return rows


def numbers(first: int = 0, rows: int = ROWS) -> pa.Table:
    index = np.arange(first, first + rows)
    return pa.table({"id": [f"r{each}" for each in index], "b": index % 7 / 2, "a": index / 4})


def as_csv(table: pa.Table, file: Path) -> Path:
    file.parent.mkdir(exist_ok=True)
    arrow_csv.write_csv(table, file)
    return file


def as_gzip(table: pa.Table, file: Path) -> Path:
    file.write_bytes(gzip.compress(as_csv(table, file).read_bytes(), 1))
    return file


def as_parquet(table: pa.Table, file: Path) -> Path:
    file.parent.mkdir(exist_ok=True)
    parquet.write_table(table, file, row_group_size=len(table))
    return file


def read_parts(folder: Path) -> pa.Table:
    """Return the rows that the manifest names."""
    manifest = json.loads((folder / MANIFEST).read_text())
    names = [part["name"] for part in manifest["parts"]]
    assert names == sorted(file.name for file in folder.glob("part-*")), "files without a place in the manifest"
    read = arrow_csv.read_csv if names[0].endswith("csv") else parquet.read_table
    table = pa.concat_tables([read(folder / name) for name in names])
    assert table.num_rows == manifest["rows"] == sum(part["rows"] for part in manifest["parts"])
    return table


def require_predictions(table: pa.Table, rows: int = ROWS) -> None:
    assert table.column_names == ["id", "b", "a", "predicted_y"]
    assert table.column("id").to_pylist() == [f"r{each}" for each in range(rows)]
    expected = table.column("a").to_numpy() + 2 * table.column("b").to_numpy()
    np.testing.assert_allclose(table.column("predicted_y").to_numpy(), expected, rtol=1e-6)


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("write", [as_csv, as_gzip, as_parquet])
def test_batch_of_many_chunks_writes_parts_with_keys_and_predictions(
    model: Path, tmp_path: Path, write: Callable[[pa.Table, Path], Path]
) -> None:
    file = write(numbers(), tmp_path / "rows")
    assert score(model, file.as_uri(), f"{tmp_path}/out/") == ROWS
    require_predictions(read_parts(tmp_path / "out"))
    assert len(list((tmp_path / "out").glob("part-*"))) > 3
    assert new_run(model, str(file)).write_csv(tmp_path / "whole.csv") == ROWS
    require_predictions(arrow_csv.read_csv(tmp_path / "whole.csv"))


@pytest.mark.parametrize(("write", "columns"), [(as_csv, 20), (as_parquet, 4)])
def test_read_chunks_holds_less_than_the_whole_table(
    model: Path, tmp_path: Path, write: Callable[[pa.Table, Path], Path], columns: int
) -> None:
    wide = pa.table({f"c{number}": np.arange(4_000_000 // columns) + 0.5 for number in range(columns)})
    (unit,) = new_run(model, str(write(wide, tmp_path / "wide"))).units
    before, held = pa.total_allocated_bytes(), []
    for chunk in table_chunks.read_chunks(unit, CsvFormat()):
        held.append(pa.total_allocated_bytes() - before)
        assert chunk.num_rows <= table_chunks.CHUNK_ROWS
    assert len(held) > 3
    assert max(held) < wide.nbytes, "the reader holds the whole table"


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("write", [as_csv, as_parquet])
def test_batch_killed_in_third_part_predicts_only_missing_parts_again(
    model: Path, tmp_path: Path, write: Callable[[pa.Table, Path], Path]
) -> None:
    file, out = str(write(numbers(), tmp_path / "rows")), f"{tmp_path}/out/"
    command = [sys.executable, "-c", KILLED_RUN, str(model), file, out]
    assert subprocess.run(command, cwd=PROJECT, check=False).returncode == -signal.SIGKILL
    finished = {part.name: part.stat().st_mtime_ns for part in Path(out).glob("part-*")}
    assert len(finished) == 2
    assert not (Path(out) / MANIFEST).exists()

    predicted = score(model, file, out)

    require_predictions(read_parts(Path(out)))
    manifest = json.loads((Path(out) / MANIFEST).read_text())
    assert predicted == ROWS - sum(part["rows"] for part in manifest["parts"][:2])
    assert {name: (Path(out) / name).stat().st_mtime_ns for name in finished} == finished
    assert score(model, file, out) == 0, "a finished run predicts nothing again"


@pytest.mark.usefixtures("_small_parts")
def test_batch_of_changed_data_replaces_all_parts(model: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "rows.csv", tmp_path / "out"
    score(model, str(as_csv(numbers(), file)), f"{out}/")
    (out / "part-mine.csv").write_text("the user's own")
    as_csv(numbers(rows=10), file)
    assert score(model, str(file), f"{out}/") == 10
    (out / "part-mine.csv").unlink()
    require_predictions(read_parts(out), 10)


def test_batch_of_folder_in_shards_predicts_each_file_once(model: Path, tmp_path: Path) -> None:
    for number in range(3):
        as_csv(numbers(100 * number, 100), tmp_path / "in" / f"{number}.csv")
    (tmp_path / "in" / "_SUCCESS").touch()
    out = f"{tmp_path}/out/"
    run = new_run(model, str(tmp_path / "in"))
    run.require_shards(2, out)
    PartsFolder(out, run.key()).prepare()
    with pytest.raises(StepError, match="3 of 3 units have no predictions"):
        PartsFolder(out, run.key()).finish(3, {})
    counts = [new_run(model, str(tmp_path / "in")).write_parts(PartsFolder(out, run.key()), each, 2) for each in (0, 1)]
    assert counts == [200, 100]
    assert PartsFolder(out, run.key()).finish(3, {}) == 300
    require_predictions(read_parts(Path(out)), 300)


class Objects(MemoryFileSystem):  # type: ignore[misc]
    """Object store: a folder exists while it has files."""

    protocol = "objects"
    store: ClassVar[dict[str, Any]] = {}

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        pass

    def ls(self, path: str, detail: bool = True, **options: Any) -> Any:
        self.pseudo_dirs[:] = [""]
        return super().ls(path, detail, **options)


def test_batch_into_a_new_folder_of_an_object_store_writes_all_parts(model: Path, tmp_path: Path) -> None:
    fsspec.register_implementation("objects", Objects, clobber=True)
    run = new_run(model, str(as_csv(numbers(), tmp_path / "numbers.csv")))
    folder = PartsFolder("objects:///today/", run.key())
    folder.prepare()
    assert run.write_parts(folder) == ROWS
    assert run.write_parts(folder) == 0  # no part is missing
    assert folder.finish(1, {}) == ROWS


def test_parquet_file_is_split_between_row_groups(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_chunks, "UNIT_ROWS", 100)
    parquet.write_table(numbers(rows=250), tmp_path / "rows", row_group_size=60)
    units = new_run(model, str(tmp_path / "rows")).units
    assert [(unit.first_row, unit.row_groups) for unit in units] == [(0, (0, 1)), (120, (2, 3)), (240, (4,))]


@pytest.mark.parametrize(
    ("shards", "destination", "message"),
    [
        (0, "/out/", "shards: 0; it must be 1 or more"),
        (2, "/out.csv", "destination: '/out.csv'; several shards need the address of a folder, with / at its end"),
        (2, "/out/", "shards: 2; the data can be split into 1 at most: a CSV file is never split"),
    ],
)
def test_shards_that_cannot_be_are_refused(
    model: Path, tmp_path: Path, shards: int, destination: str, message: str
) -> None:
    file = as_csv(numbers(rows=5), tmp_path / "rows.csv")
    with pytest.raises(StepError) as refused:
        new_run(model, str(file)).require_shards(shards, destination)
    assert message in str(refused.value)


def test_invalid_cell_in_late_chunk_is_named_by_its_row_and_file(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    as_csv(numbers(rows=5), folder / "1.csv")
    rows = as_csv(numbers(), folder / "2.csv").read_text().splitlines()
    rows[150_000] = "r,tall,1"
    (folder / "2.csv").write_text("\n".join(rows))
    with pytest.raises(StepError, match=r"in/2.csv: column b, row 150000: 'tall'"):
        new_run(model, str(folder)).write_csv(tmp_path / "out.csv")
    rows[150_000] = "r,1"
    (folder / "2.csv").write_text("\n".join(rows))
    with pytest.raises(StepError, match=r"in/2.csv: row 150000 has 2 values, the header 3"):
        new_run(model, str(folder)).write_csv(tmp_path / "out.csv")


def test_files_with_different_columns_are_refused(model: Path, tmp_path: Path) -> None:
    as_csv(numbers(rows=5), tmp_path / "in" / "1.csv")
    as_csv(numbers(rows=5).drop_columns("id"), tmp_path / "in" / "2.csv")
    message = r"the columns of .*2.csv are b, a, predicted_y, those (before|of .*1.csv are) id, b, a, predicted_y"
    with pytest.raises(StepError, match=message):
        new_run(model, str(tmp_path / "in")).write_csv(tmp_path / "out.csv")
    with pytest.raises(StepError, match=message):
        score(model, str(tmp_path / "in"), f"{tmp_path}/out/")


@pytest.mark.usefixtures("_small_parts")
@pytest.mark.parametrize("record", ["part-00000-00001-*.csv.json", "unit-00000-*.json"])
def test_batch_with_a_record_that_a_full_disk_cut_off_is_completed(model: Path, tmp_path: Path, record: str) -> None:
    file, out = as_csv(numbers(), tmp_path / "rows.csv"), tmp_path / "out"
    score(model, str(file), f"{out}/")
    (cut_off,) = (out / RECORDS).glob(record)
    cut_off.write_text("")
    score(model, str(file), f"{out}/")
    require_predictions(read_parts(out))
    assert not list((out / RECORDS).glob("*.partial"))


def test_destination_that_is_the_file_of_the_data_is_refused(model: Path, tmp_path: Path) -> None:
    file = as_csv(numbers(rows=5), tmp_path / "in.csv")
    for destination in (str(file), file.as_uri()):
        with pytest.raises(StepError, match="is the file of the data; choose another address"):
            new_run(model, str(file)).require_separate(destination)
    new_run(model, str(file)).require_separate("memory://in.csv")
    new_run(model, str(file)).require_separate(f"{file}.predicted")


@pytest.mark.parametrize("destination", ["in/", "in/out/", "in/predictions.csv"])
def test_destination_in_folder_of_the_data_is_refused(model: Path, tmp_path: Path, destination: str) -> None:
    as_csv(numbers(rows=5), tmp_path / "in" / "1.csv")
    with pytest.raises(StepError, match="is in the folder of the data"):
        new_run(model, str(tmp_path / "in")).require_separate(f"{tmp_path}/{destination}")
