"""Folder of predictions in parts: each part has a record, so that a later run continues where this one ends."""

from __future__ import annotations

import hashlib
import json
import re
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workloads.ml.data.storage import failure, file_system, without_secrets
from workloads.ml.errors import StepError

RECORDS = "_parts"
"""Readers of Parquet folders ignore names that begin with _."""
CLAIM = f"{RECORDS}/run"
"""The key of the run that began last. Runs with another key end at their next part."""
MANIFEST = "_manifest.json"
KEY_DIGITS = 12
PART_RECORD = re.compile(r"part-(\d{5})-")
PART_NAME = re.compile(rf"part-\d{{5}}-\d{{5}}(-[0-9a-f]{{{KEY_DIGITS}}})?\.(csv|parquet)")
"""Names of parts; those of older versions have no digits of the key."""


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
        key: A digest of the data and the model. Names of parts have its first digits, so that runs with other keys
            replace none of them.
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
        """Claim the folder for this data and model; their parts replace those of before once all are complete.

        Raises:
            StepError: The folder cannot be written.
        """
        try:
            self._files.makedirs(f"{self._path}/{RECORDS}", exist_ok=True)
        except Exception as error:
            raise StepError(f"destination: {failure(self._url, 'written', error)}") from error
        self._write(CLAIM, {"key": self._key})

    def part_name(self, unit: int, number: int, kind: str) -> str:
        """Return the name of a part of a unit; `kind` is csv or parquet."""
        return f"part-{unit:05d}-{number:05d}-{self._key[:KEY_DIGITS]}.{kind}"

    def finished(self) -> tuple[dict[str, PartRecord], set[int]]:
        """Return the records of finished parts by name, and the numbers of finished units."""
        sizes = {Path(each["name"]).name: each["size"] for each in self._list(self._path)}
        named = [record for record in self._records() if self._has_digits(record["file"])]
        cut_off = {int(unit[1]) for each in named if not each["key"] and (unit := PART_RECORD.match(each["file"]))}
        records = [record for record in named if record["key"] == self._key]
        parts = [PartRecord(**record["part"]) for record in records if "part" in record]
        kept = {part.name: part for part in parts if sizes.get(part.name) == part.bytes}
        lost = {part.unit for part in parts if part.name not in kept}
        return kept, {record["unit"] for record in records if "unit" in record} - lost - cut_off

    def add(self, file: Path, part: PartRecord) -> None:
        """Publish a file of this computer as a part, and then its record.

        Raises:
            StepError: The folder cannot be written, or a later run with another key has claimed it.
        """
        self._publish(file, part.name)
        if self._is_superseded():  # the later run may have deleted the parts of this one already
            self._delete(part.name)
            raise self._superseded()
        self._write(f"{RECORDS}/{part.name}.json", {"key": self._key, "name": part.name, "part": asdict(part)})

    def finish_unit(self, unit: int) -> None:
        """Record that a unit has no further parts."""
        self._write(f"{RECORDS}/unit-{unit:05d}-{self._key[:KEY_DIGITS]}.json", {"key": self._key, "unit": unit})

    def finish(self, units: int, about: dict[str, Any]) -> int:
        """Write the manifest, delete the parts of other data or of another model, and return the number of rows.

        Args:
            units: Number of units of the data.
            about: What the manifest says of the data and the model.

        Raises:
            StepError: A unit is unfinished, the columns of parts differ, or a later run has claimed the folder.
        """
        if self._is_superseded():
            raise self._superseded()
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
        self._delete_others(parts)
        return rows

    def _delete_others(self, parts: Collection[str]) -> None:
        """Delete all parts except these, and their records."""
        try:
            found = self._names(self._path)
            recorded = {record.get("name") for record in self._records()}
            others = [name for name in self._names(f"{self._path}/{RECORDS}") if not self._has_digits(name)]
            if self._is_superseded():  # checked after the lists: they have no part of a run that begins from now on
                return
            for name in found:
                known = PART_NAME.fullmatch(name)
                if known and name not in parts and (known[1] or name in recorded):
                    self._delete(name)
            for name in others:
                if name.startswith(("part-", "unit-")):
                    self._delete(f"{RECORDS}/{name}")
        except Exception as error:
            raise StepError(f"destination: {failure(self._url, 'written', error)}") from error

    def _has_digits(self, file: str) -> bool:
        return f"-{self._key[:KEY_DIGITS]}." in file

    def _is_superseded(self) -> bool:
        """Return True if a later run with another key has claimed the folder."""
        try:
            return self._record(CLAIM)["key"] not in ("", self._key)
        except FileNotFoundError:
            return False
        except Exception as error:
            raise StepError(f"destination: {failure(self._url, 'read', error)}") from error

    def _superseded(self) -> StepError:
        return StepError(
            f"destination: a later run with other data or another model writes to {without_secrets(self._url)}; choose "
            "another folder for one of them"
        )

    def _records(self) -> list[dict[str, Any]]:
        """Return the records, each with the name of its file. One that a full disk cut off has the key ""."""
        names = sorted(name for name in self._names(f"{self._path}/{RECORDS}") if name.endswith(".json"))
        return [self._record(f"{RECORDS}/{name}") | {"file": name} for name in names]

    def _record(self, name: str) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._files.cat_file(f"{self._path}/{name}"))
        except ValueError:
            return {"key": ""}
        return record

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            return list(self._files.ls(path, detail=True, refresh=True))
        except FileNotFoundError:  # an object store has no empty folders
            return []

    def _names(self, path: str) -> list[str]:
        return [Path(each["name"]).name for each in self._list(path)]

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
