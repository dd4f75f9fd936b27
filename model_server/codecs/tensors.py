"""Tensors of the open inference protocol: their datatypes, and their data as rows of values."""

from __future__ import annotations

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
DATATYPES = tuple(BINARY_TYPES)


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

    def _check_types(self, rows: list[list[Any]], names: Sequence[str]) -> None:
        for number, row in enumerate(rows):
            for name, value in zip(names, row, strict=True):
                if self.datatype in INTEGERS and isinstance(value, float) and not value.is_integer():
                    message = f"{name}: expected an integer as {self.path}.datatype says, got {describe_value(value)}"
                    raise RequestError(422, "not_an_integer", message, field=name, row=number)
                if self.datatype in BOOLEANS and type(value) is not bool:
                    message = f"{name}: expected a boolean as {self.path}.datatype says, got {describe_value(value)}"
                    raise RequestError(422, "not_a_boolean", message, field=name, row=number)


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
    field, dtype = f"{path}.parameters.binary_data_size", BINARY_TYPES[datatype]
    if type(size) is not int or not 0 <= size <= len(binary) or size % dtype.itemsize:
        allowed = f"a multiple of {dtype.itemsize} up to the {len(binary)} remaining bytes"
        message = f"{field}: expected {allowed}, got {describe_value(size)}"
        raise RequestError(422, "unexpected_value", message, field=field)
    values = np.frombuffer(binary[:size], dtype).tolist()
    return Tensor(name, path, datatype, shape, values), binary[size:]


def tensor_bytes(values: list[Any], datatype: str) -> bytes:
    """Return values in binary form."""
    return np.array(values, BINARY_TYPES[datatype]).tobytes()
