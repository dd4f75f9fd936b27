"""Reader of CSV files: every cell as text, every doubt about the format an error.

A separator or an encoding that the file does not make certain has to be set in `CsvFormat`.
"""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

GZIP_MAGIC = b"\x1f\x8b"
ZIP_MAGIC = b"PK\x03\x04"
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
"""Separators that are detected; others must be set."""
SAMPLE_CHARACTERS = 1 << 16
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


def read_csv(content: bytes, csv_format: CsvFormat) -> tuple[list[str], pa.Table]:
    """Return the header and a table of text columns; an empty cell is null.

    Args:
        content: The file, possibly compressed with gzip.
        csv_format: Properties of the file that are not detected.

    Raises:
        StepError: The file is not CSV, its format is ambiguous, or a row has another number of values than the header.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    text = _decode(_decompress(content), csv_format.encoding)
    separator = csv_format.separator or _detect_separator(text[:SAMPLE_CHARACTERS])
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator)
    header = next((row for row in reader if row), None)
    if header is None:
        raise StepError("the data are not a CSV table: the file is empty")
    columns = [str(number) for number in range(len(header))]  # unique names, whatever the header is
    wrong_rows: list[Any] = []

    def on_invalid_row(row: Any) -> str:
        wrong_rows.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            BytesIO(text.encode()),
            read_options=arrow_csv.ReadOptions(use_threads=False, column_names=columns, skip_rows=reader.line_num),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=on_invalid_row
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except pa.ArrowInvalid as error:
        if wrong_rows:
            row = wrong_rows[0]
            raise StepError(
                f"row {row.number - reader.line_num} has {row.actual_columns} values, the header "
                f"{row.expected_columns}; each row needs one value for each column"
            ) from None
        if "Empty CSV" in str(error):
            raise StepError("the data have a header but no rows") from None
        raise StepError(f"the data are not a CSV table: {error}") from None
    return header, table


def _decompress(content: bytes) -> bytes:
    if content.startswith(ZIP_MAGIC):
        raise StepError("the data are a ZIP archive or an Excel workbook; save the table as CSV or Parquet")
    if not content.startswith(GZIP_MAGIC):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise StepError(f"the data begin like a gzip file but cannot be decompressed: {error}") from None


def _decode(content: bytes, encoding: str) -> str:
    detected = next((name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding or detected)
    except LookupError:
        raise StepError(f"csv_format.encoding: {encoding!r} is not an encoding; use utf-8, utf-16 or latin-1") from None
    except UnicodeDecodeError as error:
        raise StepError(
            f"the data are not a CSV table in {encoding or 'UTF-8'} ({error.reason} at byte {error.start}); "
            "set csv_format.encoding, for example to latin-1"
        ) from None
    if "\0" in text[:SAMPLE_CHARACTERS]:
        raise StepError("the data are not a CSV table in UTF-8: they contain null bytes; set csv_format.encoding")
    return text.removeprefix("\ufeff")


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
