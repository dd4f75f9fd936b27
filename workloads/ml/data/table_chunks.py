"""Tables in chunks: memory does not grow with their rows."""

from __future__ import annotations

import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING

from workloads.ml.data.columns import name_key
from workloads.ml.data.csv_reader import CsvFormat, stream_csv
from workloads.ml.data.data_files import DataFile
from workloads.ml.data.storage import failure
from workloads.ml.data.table import PARQUET_MAGIC, check_names
from workloads.ml.errors import NoRowsError, StepError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

CHUNK_ROWS = 1 << 16
"""Rows of a chunk of a Parquet file."""
CHUNK_CELLS = 1 << 22
"""Cells of a chunk of a Parquet file, at most: a wide table has fewer rows in a chunk."""
UNIT_ROWS = 1 << 20
"""Row groups of a Parquet file are one unit until they have this number of rows."""
COLUMN_BUFFER_BYTES = 1 << 18
"""Size of a request for a column of a Parquet file."""
SMALL_BYTES = 1 << 25
"""Size of a file that is read once into memory, at most; larger files are read again for each pass."""
REQUEST_BYTES = 1 << 22
"""Size of a request for a CSV file."""


@dataclass(frozen=True)
class Unit:
    """Rows that one process reads: a CSV file, or consecutive row groups of a Parquet file.

    Args:
        number: Index among all units of the data.
        file: The file.
        first_row: Index of the first row in the file.
        row_groups: Indices of the row groups; None for a CSV file.
    """

    number: int
    file: DataFile
    first_row: int = 0
    row_groups: tuple[int, ...] | None = None


def find_units(files: Sequence[DataFile], csv_format: CsvFormat) -> list[Unit]:
    """Return the units of the files; a file without rows has none.

    Args:
        files: The files in order.
        csv_format: Properties of CSV files that are not detected.

    Raises:
        StepError: A file cannot be read, no file has rows, or files have different formats.
    """
    found: list[tuple[DataFile, int, tuple[int, ...] | None]] = []
    for file in files:
        with file.open() as stream:
            groups = _row_groups(stream, file) if _read(stream, len(PARQUET_MAGIC), file) == PARQUET_MAGIC else None
        if groups is not None:
            found += [(file, *each) for each in groups]
        elif len(files) == 1 or _has_rows(file, csv_format):
            found.append((file, 0, None))
    if not found:
        raise NoRowsError(
            "the data have a header but no rows" if len(files) == 1 else f"no file of {files[0].folder} has rows"
        )
    units = [Unit(number, *each) for number, each in enumerate(found)]
    formats = {unit.row_groups is None: unit.file.address for unit in units}
    if len(formats) > 1:
        raise StepError(f"the data are a CSV file {formats[True]} and a Parquet file {formats[False]}; keep one format")
    return units


def _has_rows(file: DataFile, csv_format: CsvFormat) -> bool:
    """Return True if a CSV file has rows, or cannot be read: the reader of its unit then says why."""
    with closing(read_chunks(Unit(0, file), csv_format)) as chunks:
        try:
            next(chunks)
        except NoRowsError:
            return False
        except StepError:
            return True
    return True


def read_chunks(unit: Unit, csv_format: CsvFormat) -> Generator[pa.Table, None, None]:
    """Yield the rows of a unit, with unique column names; cells of a CSV file are text.

    The columns of the file's folders follow those of the file, as text, unless the file has them itself.

    Raises:
        StepError: The file cannot be read, has no rows, or a column has no unique name.
    """
    import pyarrow as pa

    with unit.file.open() as stream:
        if unit.row_groups is None:
            names, batches = stream_csv(read_bytes(stream, unit.file), csv_format)
        else:
            names, batches = _read_row_groups(stream, unit)
        checked = False
        for batch in batches:
            if not batch.num_rows:
                continue
            table = pa.Table.from_batches([batch])
            if not checked:
                check_names(names, table)
                checked = True
            yield _with_partition(table.rename_columns(names), unit.file.partition)


def _with_partition(table: pa.Table, cells: Mapping[str, str | None]) -> pa.Table:
    """Return the table with a column for each cell of the folders' names."""
    import pyarrow as pa

    known = {name_key(name) for name in table.column_names}
    for name, cell in cells.items():
        if name_key(name) not in known:
            table = table.append_column(name, pa.repeat(pa.scalar(cell, pa.string()), table.num_rows))
    return table


def _row_groups(stream: IO[bytes], file: DataFile) -> list[tuple[int, tuple[int, ...]]]:
    """Return the first row and the row groups of each unit of a Parquet file."""
    metadata = _parquet(stream, file).metadata
    units: list[tuple[int, tuple[int, ...]]] = []
    row = 0
    for group in range(metadata.num_row_groups):
        if not metadata.row_group(group).num_rows:
            continue
        if units and row - units[-1][0] < UNIT_ROWS:
            units[-1] = (units[-1][0], (*units[-1][1], group))
        else:
            units.append((row, (group,)))
        row += metadata.row_group(group).num_rows
    return units


def _read_row_groups(stream: IO[bytes], unit: Unit) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    opened = _parquet(stream, unit.file)
    rows = min(CHUNK_ROWS, max(1, CHUNK_CELLS // max(1, len(opened.schema_arrow.names))))

    def batches() -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        try:
            yield from opened.iter_batches(rows, row_groups=unit.row_groups, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            raise StepError(f"the data begin like a Parquet file but cannot be read: {error}") from None

    return opened.schema_arrow.names, batches()


def _parquet(stream: IO[bytes], file: DataFile) -> ParquetFile:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # A stream buffer for each column: otherwise memory holds whole row groups.
        return parquet.ParquetFile(
            _seekable(stream, file),
            buffer_size=COLUMN_BUFFER_BYTES,
            pre_buffer=False,
            coerce_int96_timestamp_unit="us",  # nanoseconds would wrap around outside of the years 1678 to 2261
        )
    except (pa.ArrowException, OSError) as error:
        raise StepError(f"the data begin like a Parquet file but cannot be read: {error}") from None


def _seekable(stream: IO[bytes], file: DataFile) -> IO[bytes]:
    """Return the stream, or a copy on disk if its server has no ranges."""
    try:
        stream.seek(0, 2)
    except ValueError:
        copy = tempfile.TemporaryFile()  # noqa: SIM115  deleted with its last reference
        with file.open() as again:
            copyfileobj(again, copy)
        return copy
    stream.seek(0)
    return stream


def buffer_small_file(files: Sequence[DataFile]) -> Sequence[DataFile]:
    """Return the files; if there is one and it is small, its content is read now, and only once."""
    if len(files) > 1:
        return files
    content, (file,) = bytearray(), files
    with file.open() as stream:
        for piece in read_bytes(stream, file):
            content += piece
            if len(content) > SMALL_BYTES:
                return files
    return [replace(file, opened=partial(BytesIO, bytes(content)))]


def read_bytes(stream: IO[bytes], file: DataFile) -> Iterator[bytes]:
    """Return the content of a file in pieces."""
    return iter(lambda: _read(stream, REQUEST_BYTES, file), b"")


def _read(stream: IO[bytes], size: int, file: DataFile) -> bytes:
    try:
        return stream.read(size) or b""
    except Exception as error:  # each file system has its own errors
        raise StepError(f"data_url: {failure(file.address, 'read', error)}") from error
