"""Base of the columns of all types: missing values, cells of CSV files, and errors."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.codecs.json_decoder import describe_value
from model_server.codecs.tensors import TEXTS
from model_server.errors import RequestError
from model_server.model.model_package import Feature

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number in CSV. Python's `float` would also accept 1_000, infinity and nan."""
DIGITS = re.compile(r"[+-]?\d{1,300}", re.ASCII)
NUMBER_TYPES: frozenset[type] = frozenset({int, float})
BOOLEANS = {"true": True, "false": False}
"""Booleans in CSV, in lower case."""


class InputColumn(ABC):
    """A column of requests. Its methods raise RequestError without a row for an invalid value."""

    datatype: str
    """Datatype of its tensor in the open inference protocol."""

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.name = feature.name
        self.missing = feature.missing
        self.low, self.high = feature.bounds()
        self.missing_numbers = frozenset(self._read_missing_texts())
        """Numbers that are missing values, as in data with 999 for an unknown age, also as float32 holds them."""

    def encode(self, value: Any) -> float:
        """Return the number of a decoded value.

        Missing values are None, NaN, the texts of the signature, and the values that these stand for. An empty text is
        a missing value too where texts are expected. Spaces around a text have no meaning.
        """
        if self.feature.missing_texts and self._is_listed(value):
            return self._encode_listed(value)
        if self.missing and self._is_absent(value):
            return math.nan
        return self._encode(value)

    def encode_all(self, values: Sequence[Any]) -> Sequence[float] | NDArray[np.float64]:
        """Return the numbers of decoded values."""
        return [self.encode(value) for value in values]

    def check_encoded(self, value: Any) -> float:
        """Return a number that the caller encoded; None and NaN are missing values."""
        if type(value) in NUMBER_TYPES and value in self.missing_numbers:
            return self._encode_listed(value)
        if self.missing and self._is_absent(value):
            return math.nan
        return self._check_encoded(value)

    def _read_missing_texts(self) -> Iterable[float]:
        """Return the encoded values of those texts that stand for one."""
        return ()

    def _is_absent(self, value: Any) -> bool:
        return value is None or value != value or (self.datatype == TEXTS and type(value) is str and not value.strip())

    def _is_listed(self, value: Any) -> bool:
        """Return True for a missing value that the signature lists."""
        return type(value) is str and value.strip() in self.feature.missing_texts

    def _encode_listed(self, value: Any) -> float:
        if self.missing:
            return math.nan
        raise self._error("missing_value", value, f"{self.allowed} that does not mean a missing value")

    def read_cell(self, cell: str) -> Any:
        """Return the decoded value of a cell of a CSV file; None for an empty one."""
        cell = cell.strip()
        if not cell:
            return None
        if DIGITS.fullmatch(cell):
            return int(cell)
        return float(cell) if NUMBER.fullmatch(cell) else BOOLEANS.get(cell.lower(), cell)

    def decode(self, number: float) -> Any:
        """Return the value that is encoded as this number, or as the nearest possible one."""
        return number

    @property
    @abstractmethod
    def allowed(self) -> str:
        """The values of the column, for messages."""

    @abstractmethod
    def _encode(self, value: Any) -> float:
        pass

    def _check_encoded(self, value: Any) -> float:
        return self._encode(value)

    def _error(self, code: str, value: Any, allowed: str | None = None) -> RequestError:
        or_missing = ", or null (in CSV an empty cell) for a missing value" if self.missing else ""
        message = f"{self.name}: expected {allowed or self.allowed}{or_missing}, got {describe_value(value)}"
        return RequestError(422, code, message, field=self.name)


def rounded_too(numbers: NDArray[np.float64]) -> list[float]:
    """Return numbers, each also as float32 holds it."""
    with np.errstate(over="ignore"):
        return [*numbers.tolist(), *numbers.astype(np.float32).tolist()]
