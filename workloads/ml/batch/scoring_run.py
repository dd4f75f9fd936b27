"""Batch prediction of whole files: into one CSV file, or into a folder of parts."""

from __future__ import annotations

import hashlib
import json
import tempfile
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from workloads.ml.batch.batch_scorer import BatchScorer, to_csv
from workloads.ml.batch.parts_folder import PartRecord, PartsFolder
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import DataFile
from workloads.ml.data.storage import file_system
from workloads.ml.data.table_chunks import Unit, find_units, read_chunks
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import ModelDirectory, sha256_hex

if TYPE_CHECKING:
    import pyarrow as pa

PART_CHUNKS = 16
"""Chunks of a part: about one million rows of a Parquet file, or 16 MiB of a CSV file."""


@dataclass(frozen=True)
class ScoringRun:
    """Files to predict and the model that predicts.

    Args:
        files: The files in order.
        model: The model.
        target: Column that is dropped; empty for the targets of the model.
        csv_format: Properties of CSV files that are not detected.
    """

    files: Sequence[DataFile]
    model: ModelDirectory
    target: str
    csv_format: CsvFormat

    @property
    def source(self) -> str:
        """Return the address of the file, or of the folder of the files."""
        return self.files[0].folder or self.files[0].address

    @property
    def version(self) -> str:
        """Return the version of the file, or a digest of those of all files; empty if one has none."""
        versions = [file.version for file in self.files]
        if len(versions) == 1 or not all(versions):
            return versions[0] if all(versions) else ""
        return sha256_hex("\n".join(versions).encode())

    @cached_property
    def units(self) -> list[Unit]:
        """Return the units of the files."""
        return find_units(self.files, self.csv_format)

    def require_separate(self, destination: str) -> None:
        """Require that the predictions neither replace the data nor become data of the next run.

        Raises:
            StepError: The destination is the file of the data, or in their folder.
        """
        folder, file = self.files[0].folder, self.files[0].address
        (data_files, data), (files, predictions) = (file_system(url) for url in (folder or file, destination))
        if type(data_files) is not type(files):
            return
        if folder and f"{predictions.rstrip('/')}/".startswith(f"{data.rstrip('/')}/"):
            raise StepError(f"destination: {destination} is in the folder of the data {folder}; choose another folder")
        if not folder and predictions == data:
            raise StepError(f"destination: {destination} is the file of the data; choose another address")

    def require_shards(self, shards: int, destination: str) -> None:
        """Require that the data can be split and that the parts have a folder.

        Raises:
            StepError: They cannot, or it is missing.
        """
        if shards < 1:
            raise StepError(f"shards: {shards}; it must be 1 or more")
        if not destination.endswith("/"):
            raise StepError(
                f"destination: {destination!r}; several shards need the address of a folder, with / at its end"
            )
        if shards > len(self.units):
            raise StepError(
                f"shards: {shards}; the data can be split into {len(self.units)} at most: a CSV file is never split, a "
                "Parquet file between row groups, after a million rows or more; write the data as several files"
            )

    def require_key(self, key: str) -> None:
        """Require that the data are those that the shards were planned for.

        Raises:
            StepError: The data or the model changed.
        """
        if self.version and self.key() != key:
            raise StepError(f"the data at {self.source} changed since the run began; run it again")

    def key(self) -> str:
        """Return a digest of all that decides the predictions; a random one if a file has no version."""
        import pyarrow as pa

        if not self.version:
            return uuid.uuid4().hex
        signature = self.model.signature
        model = [signature["sha256"], signature["features"], signature["classes"]]
        files = [(file.address, file.version) for file in self.files]
        decisive = [files, model, self.target, asdict(self.csv_format), PART_CHUNKS, pa.__version__]
        return sha256_hex(json.dumps(decisive).encode())

    def write_csv(self, path: Path) -> int:
        """Write all rows with predictions to one CSV file and return their number.

        Raises:
            StepError: The data cannot be read or predicted, or files have different columns.
        """
        rows, columns = 0, None
        scorer = BatchScorer(self.model, self.target, self.csv_format.decimal)
        with path.open("wb") as out:
            for unit in self.units:
                for first_row, chunk in self._chunks(unit):
                    scored = self._score(scorer, unit, first_row, chunk)
                    if columns not in (None, scored.column_names):
                        raise StepError(
                            f"the columns of {unit.file.address} are {', '.join(scored.column_names)}, those before "
                            f"{', '.join(columns)}; all files of a folder need the same columns in the same order"
                        )
                    out.write(to_csv(scored, header=columns is None))
                    columns = scored.column_names
                    rows += scored.num_rows
        return rows

    def write_parts(self, folder: PartsFolder, shard: int = 0, shards: int = 1) -> int:
        """Write the parts of every `shards`-th unit that the folder does not have.

        Args:
            folder: The folder of parts.
            shard: Index of the first unit.
            shards: Number of processes that share the units.

        Returns:
            The number of rows that were predicted now.

        Raises:
            StepError: The data cannot be read or predicted, or the folder cannot be written.
        """
        parts, done = folder.finished()
        scorer = BatchScorer(self.model, self.target, self.csv_format.decimal)
        rows = 0
        for unit in self.units[shard::shards]:
            if unit.number not in done:
                rows += self._write_unit(scorer, unit, folder, parts)
                folder.finish_unit(unit.number)
        return rows

    def _write_unit(self, scorer: BatchScorer, unit: Unit, folder: PartsFolder, parts: Mapping[str, PartRecord]) -> int:
        kind = "csv" if unit.row_groups is None else "parquet"
        rows = 0
        for number, group in groupby(enumerate(self._chunks(unit)), lambda numbered: numbered[0] // PART_CHUNKS):
            name = folder.part_name(unit.number, number, kind)
            chunks = (chunk for _, chunk in group)
            if name in parts:
                deque(chunks, maxlen=0)
                continue
            with tempfile.TemporaryDirectory() as scratch:
                part = self._write_part(Path(scratch) / name, scorer, unit, chunks)
                folder.add(Path(scratch) / name, part)
            rows += part.rows
        return rows

    def _write_part(
        self, file: Path, scorer: BatchScorer, unit: Unit, chunks: Iterator[tuple[int, pa.Table]]
    ) -> PartRecord:
        from pyarrow import parquet

        first_row, chunk = next(chunks)
        first = self._score(scorer, unit, first_row, chunk)
        rows = 0
        with ExitStack() as stack:
            if unit.row_groups is None:
                out = stack.enter_context(file.open("wb"))
            else:
                writer = stack.enter_context(parquet.ParquetWriter(file, first.schema))
            for scored in chain([first], (self._score(scorer, unit, *each) for each in chunks)):
                if unit.row_groups is None:
                    out.write(to_csv(scored, header=not rows))
                else:
                    writer.write_table(scored)
                rows += scored.num_rows
        with file.open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return PartRecord(
            file.name, unit.number, unit.file.address, first_row, rows, file.stat().st_size, digest, first.column_names
        )

    def _chunks(self, unit: Unit) -> Iterator[tuple[int, pa.Table]]:
        """Yield the index of each chunk's first row in its file, and the chunk."""
        row = unit.first_row
        with self._naming(unit):
            for chunk in read_chunks(unit, self.csv_format):
                yield row, chunk
                row += chunk.num_rows

    def _score(self, scorer: BatchScorer, unit: Unit, first_row: int, chunk: pa.Table) -> pa.Table:
        with self._naming(unit):
            return scorer.score(chunk, first_row)

    @contextmanager
    def _naming(self, unit: Unit) -> Iterator[None]:
        """Add the address of the file to errors, if there are several files."""
        try:
            yield
        except StepError as error:
            if len(self.files) == 1:
                raise
            raise StepError(f"{unit.file.address}: {error}") from None
