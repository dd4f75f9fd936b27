"""Tensors of the open inference protocol: their datatypes, and their data as rows of values."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model_server.codecs.json_decoder import describe_value
from model_server.errors import RequestError

BOOLEANS = ("BOOL",)
FLOATS = ("FP16", "FP32", "FP64")
INTEGERS = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
BINARY_TYPES = {"BOOL": np.dtype(np.bool_)} | {
    name: np.dtype(f"<{name[0].lower()}{int(name.lstrip('FPUINT')) // 8}") for name in FLOATS + INTEGERS
}
"""Type of each datatype in binary form, which is little-endian."""
TEXTS = "BYTES"
DATATYPES = (*BINARY_TYPES, TEXTS)
TEXT_LENGTH = struct.Struct("<I")
"""Number of bytes before each text in binary form."""


@dataclass(frozen=True)
class Tensor:
    """An input tensor; `data` is a flat list, or a list of rows. Its values are still unchecked."""

    name: str
    path: str
    datatype: str
    shape: list[int]
    data: list[Any]

    def rows(self, names: Sequence[str]) -> list[list[Any]]:
        """Return the data as rows of one value for each name; raise RequestError for another shape or wrong types."""
        columns = len(names)
        allowed = "[rows] or [rows, 1]" if columns == 1 else f"[rows, {columns}]"
        if self.shape[1:] != [columns] and not (columns == len(self.shape) == 1):
            raise RequestError(422, "bad_shape", f"{self.path}.shape: expected {allowed}", field=f"{self.path}.shape")
        rows = self.data
        if not (rows and isinstance(rows[0], list)):
            rows = [self.data[start : start + columns] for start in range(0, len(self.data), columns)]
        if len(rows) != self.shape[0] or not all(isinstance(row, list) and len(row) == columns for row in rows):
            message = f"{self.path}.data does not have the number of values that its shape says"
            raise RequestError(422, "bad_shape", message, field=f"{self.path}.data")
        if self.datatype not in FLOATS:
            self._check_types(rows, names)
        return rows

    def column(self) -> list[Any]:
        """Return the data of a single column."""
        return [value for (value,) in self.rows([self.name])]

    def _check_types(self, rows: list[list[Any]], names: Sequence[str]) -> None:
        """Raise unless all values but null, which stands for a missing value, have the datatype."""
        for number, row in enumerate(rows):
            for name, value in zip(names, row, strict=True):
                if value is None:
                    continue
                if self.datatype in INTEGERS and isinstance(value, float) and not value.is_integer():
                    raise self._wrong_type("not_an_integer", "an integer", name, value, number)
                if self.datatype in BOOLEANS and type(value) is not bool:
                    raise self._wrong_type("not_a_boolean", "a boolean", name, value, number)
                if self.datatype == TEXTS and type(value) is not str:
                    raise self._wrong_type("not_a_text", "a text", name, value, number)

    def _wrong_type(self, code: str, expected: str, name: str, value: Any, row: int) -> RequestError:
        message = f"{name}: expected {expected} as {self.path}.datatype says, got {describe_value(value)}"
        return RequestError(422, code, message, field=name, row=row)


def read_json_tensor(name: str, path: str, datatype: str, shape: list[int], data: Any) -> Tensor:
    """Return the tensor of JSON data; raise RequestError unless the data is a list."""
    if not isinstance(data, list):
        message = f"{path}.data: expected a list, got {describe_value(data)}"
        raise RequestError(422, "unexpected_value", message, field=f"{path}.data")
    return Tensor(name, path, datatype, shape, data)


def take_binary_tensor(
    name: str, path: str, datatype: str, shape: list[int], size: Any, binary: bytes
) -> tuple[Tensor, bytes]:
    """Return the tensor in the first `size` bytes, and the other bytes.

    Raises:
        RequestError: the size is no number of bytes of whole values, or exceeds the data.
    """
    field = f"{path}.parameters.binary_data_size"
    unit = 1 if datatype == TEXTS else BINARY_TYPES[datatype].itemsize
    if type(size) is not int or not 0 <= size <= len(binary) or size % unit:
        allowed = f"a multiple of {unit} up to the {len(binary)} remaining bytes"
        message = f"{field}: expected {allowed}, got {describe_value(size)}"
        raise RequestError(422, "unexpected_value", message, field=field)
    return Tensor(name, path, datatype, shape, read_elements(path, datatype, binary[:size])), binary[size:]


def read_elements(path: str, datatype: str, content: bytes) -> list[Any]:
    """Return the values of a tensor in binary form.

    Raises:
        RequestError: the bytes are not whole values, or a text is not UTF-8.
    """
    if datatype != TEXTS:
        dtype = BINARY_TYPES[datatype]
        if len(content) % dtype.itemsize:
            message = f"{path}: {len(content)} bytes are not whole values of {datatype}"
            raise RequestError(422, "bad_shape", message, field=path)
        values: list[Any] = np.frombuffer(content, dtype).tolist()
        return values
    texts: list[str] = []
    start = 0
    try:
        while start < len(content):
            (length,) = TEXT_LENGTH.unpack_from(content, start)
            start += TEXT_LENGTH.size + length
            if start > len(content):
                raise ValueError
            texts.append(content[start - length : start].decode())
    except (struct.error, ValueError):
        message = f"{path}: text {len(texts)} is not its length in 4 bytes, then that many bytes of UTF-8"
        raise RequestError(422, "unexpected_value", message, field=path) from None
    return texts
