"""Folder of predictions in parts: each part has a record, so that a later run continues where this one ends."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workloads.ml.data.storage import failure, file_system
from workloads.ml.errors import StepError

RECORDS = "_parts"
"""Readers of Parquet folders ignore names that begin with _."""
MANIFEST = "_manifest.json"
PART_RECORD = re.compile(r"part-(\d{5})-")
PART_NAME = re.compile(r"part-\d{5}-\d{5}\.(csv|parquet)")


@dataclass(frozen=True)
class PartRecord:
    """A finished part.

    Args:
        name: Name of its file.
        unit: Index of the unit of the data that it is from.
        source: Address of the data file.
        first_row: Index of the first row in the data file.
        rows: Number of rows.
        bytes: Size of the file.
        sha256: Digest of the file.
        columns: Names of its columns.
    """

    name: str
    unit: int
    source: str
    first_row: int
    rows: int
    bytes: int
    sha256: str
    columns: list[str]


class PartsFolder:
    """Folder of predictions at an address of fsspec.

    Args:
        url: Its address.
        key: The data and the model; records with another key count as absent.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url = url
        self._key = key
        try:
            self._files, path = file_system(url)
        except Exception as error:  # each file system has its own errors
            raise StepError(f"destination: {failure(url, 'written', error)}") from error
        self._path = path.rstrip("/")

    def prepare(self) -> None:
        """Delete parts of other data or of another model.

        Raises:
            StepError: The folder cannot be written.
        """
        try:
            self._files.makedirs(f"{self._path}/{RECORDS}", exist_ok=True)
            for record in self._records():
                if record["key"] == self._key:
                    continue
                self._delete(MANIFEST)
                if PART_NAME.fullmatch(record.get("name", "")):
                    self._delete(record["name"])
                if unit := PART_RECORD.match(record["file"]):
                    self._delete(f"{RECORDS}/unit-{unit[1]}.json")
                self._delete(f"{RECORDS}/{record['file']}")
        except Exception as error:
            raise StepError(f"destination: {failure(self._url, 'written', error)}") from error

    def finished(self) -> tuple[dict[str, PartRecord], set[int]]:
        """Return the records of finished parts by name, and the numbers of finished units."""
        sizes = {Path(each["name"]).name: each["size"] for each in self._list(self._path)}
        own = [record for record in self._records() if record["key"] == self._key]
        parts = [PartRecord(**record["part"]) for record in own if "part" in record]
        kept = {part.name: part for part in parts if sizes.get(part.name) == part.bytes}
        lost = {part.unit for part in parts if part.name not in kept}
        return kept, {record["unit"] for record in own if "unit" in record} - lost

    def add(self, file: Path, part: PartRecord) -> None:
        """Publish a file of this computer as a part, and then its record."""
        self._publish(file, part.name)
        self._write(f"{RECORDS}/{part.name}.json", {"key": self._key, "name": part.name, "part": asdict(part)})

    def finish_unit(self, unit: int) -> None:
        """Record that a unit has no further parts."""
        self._write(f"{RECORDS}/unit-{unit:05d}.json", {"key": self._key, "unit": unit})

    def finish(self, units: int, about: dict[str, Any]) -> int:
        """Write the manifest and return the number of rows.

        Args:
            units: Number of units of the data.
            about: What the manifest says of the data and the model.

        Raises:
            StepError: A unit is unfinished, or the columns of parts differ.
        """
        parts, done = self.finished()
        if missing := sorted(set(range(units)) - done):
            raise StepError(
                f"destination: {len(missing)} of {units} units have no predictions, the first is {missing[0]}"
            )
        records = [parts[name] for name in sorted(parts)]
        first = records[0]
        for part in records:
            if part.columns != first.columns:
                raise StepError(
                    f"the columns of {part.source} are {', '.join(part.columns)}, those of {first.source} are "
                    f"{', '.join(first.columns)}; all files of a folder need the same columns in the same order"
                )
        rows = sum(part.rows for part in records)
        digest = hashlib.sha256("".join(part.sha256 for part in records).encode()).hexdigest()
        shown = [{name: value for name, value in asdict(part).items() if name != "columns"} for part in records]
        described = {"key": self._key, "rows": rows, "sha256": digest, "columns": first.columns}
        self._write(MANIFEST, {**described, **about, "parts": shown})
        return rows

    def _records(self) -> list[dict[str, Any]]:
        """Return the records, each with the name of its file. One that a full disk cut off has the key ""."""
        found = [each["name"] for each in self._list(f"{self._path}/{RECORDS}")]
        names = sorted(name for name in found if name.endswith(".json"))
        return [self._record(name) | {"file": Path(name).name} for name in names]

    def _record(self, name: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._files.cat_file(name))
        except ValueError:
            return {"key": ""}
        return record

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            return list(self._files.ls(path, detail=True, refresh=True))
        except FileNotFoundError:  # an object store has no empty folders
            return []

    def _delete(self, name: str) -> None:
        if self._files.exists(f"{self._path}/{name}"):
            self._files.rm_file(f"{self._path}/{name}")

    def _publish(self, file: Path, name: str) -> None:
        from fsspec.implementations.local import LocalFileSystem

        try:
            if isinstance(self._files, LocalFileSystem):
                partial = Path(f"{self._path}/{RECORDS}/{Path(name).name}.partial")
                self._files.put_file(str(file), str(partial))
                partial.replace(f"{self._path}/{name}")
            else:  # an object appears when it is complete
                self._files.put_file(str(file), f"{self._path}/{name}")
        except Exception as error:
            raise StepError(f"destination: {failure(self._url, 'written', error)}") from error

    def _write(self, name: str, content: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "content"
            file.write_text(json.dumps(content, indent=1))
            self._publish(file, name)
