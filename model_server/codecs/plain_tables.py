"""Rows of plain JSON and CSV bodies, read by column: many times as fast as row by row.

Both functions return None for a body that they cannot decide on. `RowReader` then reads it, or says what is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from model_server.codecs.input_columns import NumberInput
from model_server.codecs.row_reader import RowReader
from model_server.errors import RequestError

NUMBER_CHARACTERS = b"0123456789.eE+-"
Batch = NDArray[np.float64]


def read_json_rows(reader: RowReader, body: bytes) -> Batch | None:
    """Return the encoded rows [rows, features] of a list of JSON objects."""
    try:
        objects = orjson.loads(body)
        if not objects or len(objects) > reader.max_rows or {*map(len, objects)} != {len(reader.names)}:
            return None
        columns = list(zip(*map(reader.pick, objects), strict=True))
        batch = _encode(reader, columns)
    except (ValueError, LookupError, TypeError, OverflowError, RequestError):
        return None
    # orjson accepts duplicate keys. With exactly two quotes for each name and each text, no key occurs twice.
    mixed = (values for column, values in zip(reader.columns, columns, strict=True) if type(column) is not NumberInput)
    texts = sum(type(value) is str for values in mixed for value in values)
    return batch if body.count(b'"') == 2 * (len(objects) * len(reader.names) + texts) else None


def read_csv_rows(reader: RowReader, body: bytes) -> Batch | None:
    """Return the encoded rows [rows, features] of a CSV file of numbers alone."""
    if not all(isinstance(column, NumberInput) for column in reader.columns):
        return None
    header, _, lines = body.replace(b"\r\n", b"\n").rstrip().partition(b"\n")
    rows, count = lines.count(b"\n") + 1, len(reader.names)
    separators = b",".join([b""] * count) + b"\n"
    if rows > reader.max_rows or lines.translate(None, NUMBER_CHARACTERS) != (separators * rows)[:-1]:
        return None
    try:
        names = header.decode().split(",")
        numbers = orjson.loads(b"[%b]" % lines.replace(b"\n", b","))
        positions = [names.index(name) for name in reader.names]
        if (len(names), len(numbers)) != (count, rows * count):
            return None
        return _encode(reader, [numbers[position::count] for position in positions])
    except (ValueError, OverflowError, RequestError):
        return None


def _encode(reader: RowReader, columns: Sequence[Sequence[Any]]) -> Batch:
    batch = np.empty((len(columns[0]), len(columns)))
    for position, (column, values) in enumerate(zip(reader.columns, columns, strict=True)):
        batch[:, position] = column.encode_all(values)
    return batch
