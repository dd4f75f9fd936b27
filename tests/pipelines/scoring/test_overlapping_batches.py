"""Batch predictions that overlap in one folder, or that end before they are complete."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.pipelines.models import save_linear
from tests.pipelines.scoring.test_batch import as_csv, new_run, numbers, read_parts, score
from workloads.ml.batch.parts_folder import MANIFEST, RECORDS, PartsFolder
from workloads.ml.data import storage
from workloads.ml.errors import StepError

ROWS = 10
FILES = 2
SUPERSEDED = "a later run with other data or another model writes to .*; choose another folder for one of them"


@dataclass
class Batch:
    """A run over two files; `slope` is the one of its model."""

    slope: int
    folder: Path

    def __post_init__(self) -> None:
        model = save_linear(self.folder / f"model-{self.slope}", [self.slope, 0])
        self.run = new_run(model, str(self.folder / "in"))
        self.parts = PartsFolder(f"{self.folder}/out/", self.run.key())

    def begin(self) -> None:
        self.parts.prepare()

    def write(self, unit: int) -> int:
        return self.run.write_parts(self.parts, unit, FILES)

    def end(self) -> int:
        return self.parts.finish(FILES, {"version": str(self.slope)})


@pytest.fixture
def batches(tmp_path: Path) -> tuple[Batch, Batch]:
    for number in range(FILES):
        as_csv(numbers(ROWS * number, ROWS), tmp_path / "in" / f"{number}.csv")
    return Batch(1, tmp_path), Batch(2, tmp_path)


def require_result_of(batch: Batch) -> None:
    """Require that the manifest names all parts, with their digests, and that the batch predicted them."""
    folder = batch.folder / "out"
    table = read_parts(folder)
    assert table.column("predicted_y").to_pylist() == [batch.slope * each for each in table.column("a").to_pylist()]
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["version"] == str(batch.slope)
    for part in manifest["parts"]:
        assert hashlib.sha256((folder / part["name"]).read_bytes()).hexdigest() == part["sha256"]
    digits = batch.run.key()[:12]
    assert all(digits in file.name for file in (folder / RECORDS).iterdir() if file.name != "run")


def test_earlier_run_that_goes_on_after_a_later_one_began_is_refused(batches: tuple[Batch, Batch]) -> None:
    earlier, later = batches
    earlier.begin()
    earlier.write(0)
    later.begin()
    later.write(0)
    with pytest.raises(StepError, match=SUPERSEDED):
        earlier.write(1)
    later.write(1)
    assert later.end() == FILES * ROWS
    require_result_of(later)


def test_earlier_run_that_goes_on_after_a_later_one_ended_leaves_its_result(batches: tuple[Batch, Batch]) -> None:
    earlier, later = batches
    earlier.begin()
    earlier.write(0)
    later.begin()
    for unit in range(FILES):
        later.write(unit)
    later.end()
    with pytest.raises(StepError, match=SUPERSEDED):
        earlier.write(1)
    with pytest.raises(StepError, match=SUPERSEDED):
        earlier.end()
    require_result_of(later)


def test_complete_run_leaves_the_manifest_to_a_later_one_that_began(batches: tuple[Batch, Batch]) -> None:
    earlier, later = batches
    earlier.begin()
    for unit in range(FILES):
        earlier.write(unit)
    later.begin()
    later.write(0)
    with pytest.raises(StepError, match=SUPERSEDED):
        earlier.end()
    later.write(1)
    later.end()
    require_result_of(later)


def test_killed_run_leaves_the_predictions_of_before_and_is_resumed(batches: tuple[Batch, Batch]) -> None:
    before, killed = batches
    before.begin()
    for unit in range(FILES):
        before.write(unit)
    before.end()
    manifest = (before.folder / "out" / MANIFEST).read_text()
    killed.begin()
    killed.write(0)
    assert (before.folder / "out" / MANIFEST).read_text() == manifest
    assert all((before.folder / "out" / part["name"]).is_file() for part in json.loads(manifest)["parts"])
    killed.begin()
    assert [killed.write(unit) for unit in range(FILES)] == [0, ROWS]
    killed.end()
    require_result_of(killed)


def test_parts_of_an_older_version_are_replaced(batches: tuple[Batch, Batch]) -> None:
    batch, _ = batches
    out = batch.folder / "out"
    (out / RECORDS).mkdir(parents=True)
    key = batch.run.key()
    (out / "part-00000-00000.csv").write_text("id,a\n")
    record = {"key": key, "name": "part-00000-00000.csv", "part": {}}
    (out / RECORDS / "part-00000-00000.csv.json").write_text(json.dumps(record))
    (out / RECORDS / "unit-00000.json").write_text(json.dumps({"key": key, "unit": 0}))
    score(batch.folder / "model-1", str(batch.folder / "in"), f"{out}/")
    assert len(list(out.glob("part-*"))) == FILES
    assert len(read_parts(out)) == FILES * ROWS


def test_copy_that_ends_early_leaves_the_file_of_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, file = tmp_path / "new.csv", tmp_path / "out" / "predictions.csv"
    source.write_text("new")
    storage.write_data(str(file), source)
    source.write_text("newer")
    file.chmod(0o640)

    def end_early(source: object, copy: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as full:
        full.setattr(storage, "copyfile", end_early)
        with pytest.raises(StepError, match="No space left"):
            storage.write_data(str(file), source)
    assert file.read_text() == "new"
    storage.write_data(file.as_uri(), source)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("newer", 0o640)
    assert [found.name for found in file.parent.iterdir()] == ["predictions.csv"]
