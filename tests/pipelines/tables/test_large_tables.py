"""Large tables: read, split and trained in chunks, with the results of one piece; or refused with the remedy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from workloads.ml.data import table
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import find_files
from workloads.ml.data.scan import table_scan, unit_reader
from workloads.ml.data.scan.parts import write_parts
from workloads.ml.data.scan.table_scan import Spread, TableScan, one_by_one
from workloads.ml.data.scan.unit_reader import TableSource
from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import load_model_directory
from workloads.ml.training.dask_workers import DaskWorkers
from workloads.ml.training.named_estimator import train_estimator

ROWS, FILES = 2000, 3
HEADER = "x,colour,noise,kind\n"


def lines_of(file: int) -> list[str]:
    """Return the lines of a file: a category exists in the last file only."""
    random = np.random.default_rng(file)
    colours = np.array(["red", "green", "blue" if file == FILES - 1 else "red"])[np.arange(ROWS) % 3]
    x, noise = random.normal(size=(2, ROWS)).round(3)
    kinds = np.where(x + 2 * (colours == "green") > 0.5, "yes", "no")
    return [",".join(map(str, cells)) for cells in zip(x, colours, noise, kinds, strict=True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of CSV files."""
    made = tmp_path_factory.mktemp("large")
    for file in range(FILES):
        (made / f"{file}.csv").write_text(HEADER + "\n".join(lines_of(file)) + "\n")
    return made


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tables of some thousand rows large ones, and chunks small."""
    monkeypatch.setattr(table, "MOST_ROWS", 1000)
    monkeypatch.setattr(table, "GROUP_ROWS", 1000)
    monkeypatch.setattr(unit_reader, "CHUNK_BYTES", 1 << 15)


def scan(folder: Path, spread: Spread = one_by_one, task: Task | None = None, target: str = "kind") -> TableScan:
    files = find_files("", "", "", str(folder))
    return TableScan(TableSource(files, [target], task, CsvFormat(), {}), spread)


def whole(folder: Path) -> table.Table:
    """Return the rows of all files, read as one file in memory."""
    content = HEADER + "\n".join(line for file in range(FILES) for line in lines_of(file))
    return table_scan.parse(content.encode(), "kind")


@pytest.fixture
def parts(folder: Path, large: None, tmp_path: Path) -> tuple[str, str]:
    """Return the paths of training part and test part."""
    train, test = str(tmp_path / "train"), str(tmp_path / "test")
    write_parts(scan(folder), train, test, seed=1)
    return train, test


@pytest.fixture(scope="module")
def dask() -> Iterator[DaskWorkers]:
    """Yield two workers in threads of this process."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield DaskWorkers(client, 2, "1Gi")


def test_write_parts_of_large_table_splits_all_rows_by_class(folder: Path, parts: tuple[str, str]) -> None:
    expected = whole(folder)
    (train, train_labels), (test, test_labels) = load_table(parts[0]), load_table(parts[1])
    together = np.column_stack([np.concatenate([train, test]), np.concatenate([train_labels, test_labels])])
    every = np.column_stack([expected.rows, expected.labels])
    assert np.array_equal(together[np.lexsort(together.T)], every[np.lexsort(every.T)])
    for index, rows in enumerate(np.bincount(expected.labels)):
        assert abs((test_labels == index).sum() - rows / 5) <= 1
    assert load_description(parts[0])["columns"] == expected.columns
    assert load_description(parts[0])["columns"][1]["categories"] == ["blue", "green", "red"]


def test_write_parts_on_workers_writes_the_same_parts(
    folder: Path, parts: tuple[str, str], dask: DaskWorkers, tmp_path: Path
) -> None:
    shared = str(tmp_path / "shared-train"), str(tmp_path / "shared-test")
    write_parts(scan(folder, dask.spread), *shared, seed=1)
    for one, other in zip(parts, shared, strict=True):
        for mine, theirs in zip(load_table(one), load_table(other), strict=True):
            assert np.array_equal(mine, theirs)


def test_regression_of_large_table_describes_all_numbers(folder: Path, large: None) -> None:
    found = scan(folder, task=Task.REGRESSION, target="noise").description
    numbers = [float(line.split(",")[2]) for file in range(FILES) for line in lines_of(file)]
    assert found["scales"] == pytest.approx([np.std(np.float32(numbers))], rel=1e-5)
    assert found["rows"] == FILES * ROWS


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\n", "\n,red,0.1,no\n", "1.csv: column x, row 1: empty; to allow that"),
        ("\n", "\nbig,red,0.1,no\n", "1.csv: column x, row 1: 'big'; 6000 of 6001 cells are numbers"),
        ("\n", "\n1,red,0.1,\n", "target: .*1.csv: column kind, row 1: empty; every row needs a class"),
        ("\n", "\n1,red\n", "1.csv: row 1 has 2 values, the header 4"),
        ("noise", "sound", "the columns of .*1.csv are x, colour, sound, kind, those before x, colour, noise, kind"),
    ],
)
def test_scan_of_wrong_file_names_file_and_row(folder: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    for file in sorted(folder.iterdir()):
        text = file.read_text()
        (tmp_path / file.name).write_text(text.replace(old, new, 1) if file.stem == "1" else text)
    with pytest.raises(StepError, match=message):
        list(scan(tmp_path).chunks())


@pytest.mark.parametrize(
    ("estimator", "parameters"),
    [
        ("XGBClassifier", {"n_estimators": 5, "n_jobs": 1}),
        ("SGDClassifier", {"loss": "log_loss"}),
        ("GaussianNB", {}),
    ],
)
def test_train_on_large_part_learns_in_chunks_and_is_exported(
    estimator: str, parameters: dict[str, object], parts: tuple[str, str], tmp_path: Path
) -> None:
    said = train_estimator(parts[0], tmp_path / "model", "large", estimator, parameters, seed=0)
    assert "chunks" in said
    rows, truth = load_table(parts[1])
    labels, _ = load_model_directory(tmp_path / "model").predict(rows)
    assert (labels == truth).mean() > 0.8  # half of the rows have each class


def test_train_xgboost_on_workers_predicts_as_in_chunks(
    parts: tuple[str, str], dask: DaskWorkers, tmp_path: Path
) -> None:
    said = train_estimator(parts[0], tmp_path / "model", "large", "XGBClassifier", {"n_estimators": 5}, 0, dask)
    assert "2 workers of Dask" in said
    rows, truth = load_table(parts[1])
    labels, _ = load_model_directory(tmp_path / "model").predict(rows)
    assert (labels == truth).mean() > 0.95


def test_train_other_estimator_on_workers_raises_error_with_the_allowed(
    parts: tuple[str, str], dask: DaskWorkers, tmp_path: Path
) -> None:
    with pytest.raises(StepError, match=r"dask: RandomForestClassifier does not learn on .*: XGBClassifier, XGBRegr"):
        train_estimator(parts[0], tmp_path / "model", "large", "RandomForestClassifier", {}, 0, dask)


def test_train_part_beyond_memory_raises_error_with_the_allowed(
    parts: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed.system.memory_limit", lambda: 1000)
    with pytest.raises(StepError, match=r"estimator: SVC needs all rows in memory: 4800 rows .*: XGBClassifier, XGB"):
        train_estimator(parts[0], tmp_path / "model", "large", "SVC", {}, 0)
