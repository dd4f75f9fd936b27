"""Reader of CSV files: every cell as text, every doubt about the format an error.

A separator or an encoding that the file does not make certain has to be set in `CsvFormat`.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from io import BufferedReader, RawIOBase, StringIO
from itertools import chain
from typing import TYPE_CHECKING, Any

from workloads.ml.errors import NoRowsError, StepError

if TYPE_CHECKING:
    import pyarrow as pa

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""Separators that are detected; others must be set."""
SAMPLE_CHARACTERS = 1 << 16
PIECE_BYTES = 1 << 18
SAMPLE_ROWS = 20
"""Rows that decide whether a separator fits."""


@dataclass(frozen=True)
class CsvFormat:
    """The format of a CSV file; an empty separator or encoding is detected."""

    separator: str = ""
    decimal: str = "."
    encoding: str = ""

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> CsvFormat:
        """Return the format of a pipeline's parameter `csv_format`.

        Raises:
            StepError: A key or value is not allowed.
        """
        allowed = [field.name for field in fields(cls)]
        if unknown := sorted(set(settings) - set(allowed)):
            raise StepError(f"csv_format: unknown key {', '.join(unknown)}; the keys are: {', '.join(allowed)}")
        chosen = cls(**{key: str(value) for key, value in settings.items()})
        if len(chosen.separator) > 1 or chosen.separator in ('"', "\n", "\r"):
            raise StepError(f"csv_format.separator: {chosen.separator!r}; it must be one character, such as ';'")
        if chosen.decimal not in (".", ","):
            raise StepError(f"csv_format.decimal: {chosen.decimal!r}; it must be '.' or ','")
        return chosen


def stream_csv(content: Iterable[bytes], csv_format: CsvFormat) -> tuple[list[str], Iterator[pa.RecordBatch]]:
    """Return the header and the rows in batches of text columns; an empty cell is null.

    Memory holds some batches of about one MiB, whatever the size of the file is.

    Args:
        content: The pieces of the file, possibly compressed with gzip.
        csv_format: Properties of the file that are not detected.

    Raises:
        StepError: The file is not CSV, its format is ambiguous, or a row has another number of values than the header.
            The error of a row comes with its batch.
    """
    text = _decode(_decompress(content), csv_format.encoding)
    head = _read_head(text, "").removeprefix("\ufeff")
    if "\0" in head:
        raise StepError("the data are not a CSV table in UTF-8: they contain null bytes; set csv_format.encoding")
    separator = csv_format.separator or _detect_separator(head[:SAMPLE_CHARACTERS])
    while True:
        lines = StringIO(head, newline="")
        header = next((row for row in csv.reader(lines, delimiter=separator) if row), None)
        rest = head[lines.tell() :]
        if rest or len(longer := _read_head(text, head)) == len(head):
            break
        head = longer
    if header is None:
        raise NoRowsError("the data are not a CSV table: the file is empty")
    return header, _parse_rows(chain([rest], text), len(header), separator)


def _parse_rows(text: Iterable[str], columns: int, separator: str) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = [str(number) for number in range(columns)]  # unique, whatever the header is
    wrong_rows: list[Any] = []

    def on_invalid_row(row: Any) -> str:
        wrong_rows.append(row)
        return "error"

    rows = 0
    try:
        for batch in arrow_csv.open_csv(
            BufferedReader(ByteStream(piece.encode() for piece in text)),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=names),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=on_invalid_row
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        ):
            rows += batch.num_rows
            yield batch
    except pa.ArrowInvalid as error:
        if wrong_rows:
            row = wrong_rows[0]
            raise StepError(
                f"row {row.number} has {row.actual_columns} values, the header "
                f"{row.expected_columns}; each row needs one value for each column"
            ) from None
        if "Empty CSV" not in str(error):
            raise StepError(f"the data are not a CSV table: {error}") from None
    if not rows:
        raise NoRowsError("the data have a header but no rows")


class ByteStream(RawIOBase):
    """Stream of pieces of bytes.

    Args:
        pieces: The content in order.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Copy the next bytes into the buffer and return their number, 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _decompress(content: Iterable[bytes]) -> Iterator[bytes]:
    stream = BufferedReader(ByteStream(content))
    start = stream.peek(len(ZIP_MAGIC))
    if start.startswith(ZIP_MAGIC):
        raise StepError("the data are a ZIP archive or an Excel workbook; save the table as CSV or Parquet")
    compressed = start.startswith(GZIP_MAGIC)
    file: gzip.GzipFile | BufferedReader[ByteStream] = gzip.GzipFile(fileobj=stream) if compressed else stream
    try:
        while piece := file.read(PIECE_BYTES):
            yield piece
    except (OSError, EOFError, zlib.error) as error:
        if not compressed:
            raise
        raise StepError(f"the data begin like a gzip file but cannot be decompressed: {error}") from None


def _decode(content: Iterable[bytes], encoding: str) -> Iterator[str]:
    pieces = iter(content)
    first = next(pieces, b"")
    detected = next((name for mark, name in BYTE_ORDER_MARKS.items() if first.startswith(mark)), "utf-8")
    try:
        decoder = codecs.getincrementaldecoder(encoding or detected)()
    except LookupError:
        raise StepError(f"csv_format.encoding: {encoding!r} is not an encoding; use utf-8, utf-16 or latin-1") from None
    position = 0
    try:
        for piece in chain([first], pieces):
            pending = len(decoder.getstate()[0])
            yield decoder.decode(piece)
            position += len(piece)
        pending = len(decoder.getstate()[0])
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise StepError(
            f"the data are not a CSV table in {encoding or 'UTF-8'} ({error.reason} at byte "
            f"{position - pending + error.start}); set csv_format.encoding, for example to latin-1"
        ) from None


def _read_head(text: Iterator[str], head: str) -> str:
    """Return the head, longer by at least `SAMPLE_CHARACTERS` unless the text ends."""
    length = len(head) + SAMPLE_CHARACTERS
    while len(head) < length and (piece := next(text, None)) is not None:
        head += piece
    return head


def _detect_separator(sample: str) -> str:
    """Return the only separator that splits the header; if several do, the only one that fits the first rows."""
    rows = {separator: _split_sample(sample, separator) for separator in SEPARATORS}
    possible = [separator for separator, split in rows.items() if split and len(split[0]) > 1]
    if len(possible) > 1:
        fitting = [each for each in possible if len({len(row) for row in rows[each]}) == 1]
        possible = fitting if len(fitting) == 1 else possible
    if len(possible) > 1:
        readings = " or ".join(f"{SEPARATORS[each]} ({len(rows[each][0])} columns)" for each in possible)
        raise StepError(f"the separator of the columns is ambiguous: {readings}; set csv_format.separator")
    return possible[0] if possible else ","


def _split_sample(sample: str, separator: str) -> list[list[str]]:
    lines = csv.reader(StringIO(sample, newline=""), delimiter=separator)
    rows: list[list[str]] = []
    try:
        for row in lines:
            if row:
                rows.append(row)
            if len(rows) > SAMPLE_ROWS:
                break
    except csv.Error:  # for example a cell that is longer than the limit of the module
        return rows
    # The sample may end within a row.
    return rows[:-1] if len(sample) == SAMPLE_CHARACTERS and len(rows) > 1 else rows
