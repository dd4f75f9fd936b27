"""Columns as callers see them, and the encoding of their values as the numbers that the model reads.

A number, an integer: itself. A boolean: 0 or 1. A category: its index in `categories`. A date: days since 1970-01-01
in UTC. A missing value: NaN.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_server.codecs.base_column import NUMBER, NUMBER_TYPES, InputColumn, rounded_too
from model_server.codecs.tensors import TEXTS
from model_server.model.model_package import LARGEST, Feature, ModelSignature

EXACT_INTEGERS = 1 << 24
"""Up to here, float32 has every integer."""
EXACT_IN_DOUBLE = 1 << 53
SHOWN_CATEGORIES = 10
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FIRST_DAY = (datetime.min.replace(tzinfo=UTC) - EPOCH) / DAY
LAST_DAY = (datetime.max.replace(tzinfo=UTC) - EPOCH) // DAY
float32 = struct.Struct("f")


class ListedNumbers(InputColumn):
    """A column whose missing values may be numbers that the signature lists."""

    def _read_missing_texts(self) -> Iterable[float]:
        numbers = np.array([float(text) for text in self.feature.missing_texts if NUMBER.fullmatch(text)], np.float64)
        return rounded_too(numbers)

    def _is_listed(self, value: Any) -> bool:
        if not self.missing_numbers or type(value) is bool:
            return super()._is_listed(value)
        if type(value) is str and NUMBER.fullmatch(value.strip()):
            value = float(value)
        return value in self.missing_numbers if type(value) in NUMBER_TYPES else super()._is_listed(value)


class NumberInput(ListedNumbers):
    """A column of numbers; booleans are 0 and 1 if the training data had no other values."""

    datatype = "FP64"
    plain_types = NUMBER_TYPES
    plain_limit = LARGEST
    """Values of these types, up to this limit, need no more than a comparison with the range."""

    @property
    def allowed(self) -> str:
        """The accepted range."""
        return f"a number from {self.low:.6g} to {self.high:.6g}"

    @property
    def plain_bounds(self) -> tuple[float, float]:
        """The least and the largest of the values that need no more than a comparison, if there are any."""
        if self.missing_numbers:
            return math.inf, -math.inf
        return max(self.low, -self.plain_limit), min(self.high, self.plain_limit)

    def encode_all(self, values: Sequence[Any]) -> Sequence[float] | NDArray[np.float64]:
        """Return the numbers of decoded values."""
        if self.plain_types.issuperset(map(type, values)):
            numbers = np.array(values, np.float64)
            low, high = self.plain_bounds
            if ((numbers >= low) & (numbers <= high)).all():
                return numbers
        return super().encode_all(values)

    def _encode(self, value: Any) -> float:
        if type(value) is bool and self.feature.accepts_booleans:
            return float(value)
        if type(value) not in NUMBER_TYPES:
            raise self._error("not_a_number", value)
        if type(value) is float and not math.isfinite(value):
            raise self._error("not_finite", value)
        if not self.low <= value <= self.high:
            raise self._error("out_of_range", value)
        number: float = value
        return number


class IntegerInput(NumberInput):
    """A column of integers, none of which is ever rounded."""

    datatype = "INT64"
    plain_types = frozenset({int})
    plain_limit = EXACT_INTEGERS

    @property
    def allowed(self) -> str:
        """The accepted range."""
        return f"an integer from {math.ceil(self.low)} to {math.floor(self.high)}"

    def decode(self, number: float) -> int:
        """Return the nearest integer."""
        return round(number)

    def _encode(self, value: Any) -> float:
        number = super()._encode(value)
        if number != math.floor(number):
            raise self._error("not_an_integer", value)
        # A float beyond 2**53 may already be rounded.
        is_rounded = type(value) is float and abs(number) > EXACT_IN_DOUBLE
        if abs(number) > EXACT_INTEGERS and (is_rounded or float32.unpack(float32.pack(number))[0] != number):
            raise self._error("not_exact", value, f"{self.allowed} that the model's 32-bit float can hold exactly")
        return number


class BooleanInput(ListedNumbers):
    """A column of booleans; the numbers 0 and 1 are booleans too, because many clients have no others."""

    datatype = "BOOL"
    allowed = "true or false"

    def decode(self, number: float) -> bool:
        """Return True for a number nearer to 1 than to 0."""
        return number > 1 / 2

    def _encode(self, value: Any) -> float:
        if type(value) is not bool and not (type(value) in NUMBER_TYPES and value in (0, 1)):
            raise self._error("not_a_boolean", value)
        return float(value)


class CategoryInput(InputColumn):
    """A column of texts, each of which the training data had."""

    datatype = TEXTS

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self._count = len(feature.categories)
        self._codes = {
            category: float(code)
            for code, category in enumerate(feature.categories)
            if category not in feature.missing_texts
        }

    @property
    def allowed(self) -> str:
        """The first categories, and the number of the others."""
        names = list(self._codes)
        more = f" or {len(names) - SHOWN_CATEGORIES} more" if len(names) > SHOWN_CATEGORIES else ""
        return f"one of {', '.join(repr(name[:40]) for name in names[:SHOWN_CATEGORIES])}{more}"

    def encode(self, value: Any) -> float:
        """Return the index of a category; an empty text is a missing value unless it is a category."""
        if type(value) is str:
            code = self._codes.get(value, self._codes.get(value.strip()))
            if code is not None:
                return code
        return super().encode(value)

    def read_cell(self, cell: str) -> str:
        """Return the text of a cell without surrounding spaces, unless a category has them."""
        return cell if cell in self._codes else cell.strip()

    def decode(self, number: float) -> str:
        """Return the category with the nearest index."""
        return self.feature.categories[round(number)]

    def _encode(self, value: Any) -> float:
        if type(value) is str and value.strip() and self.feature.unknown:
            return math.nan
        raise self._error("unknown_category", value)

    def _check_encoded(self, value: Any) -> float:
        if type(value) not in NUMBER_TYPES or not 0 <= value < self._count or value != math.floor(value):
            raise self._error("unknown_category", value, f"an index from 0 to {self._count - 1}")
        return float(value)


class DateInput(InputColumn):
    """A column of dates, with or without a time; a time without an offset is in UTC."""

    datatype = TEXTS

    def __init__(self, feature: Feature) -> None:
        super().__init__(feature)
        self.low, self.high = max(self.low, FIRST_DAY), min(self.high, LAST_DAY)
        self.first, self.last = iso_date(math.ceil(self.low)), iso_date(self.high)

    @property
    def allowed(self) -> str:
        """The accepted range."""
        return f"a date in ISO 8601 from {self.first} to {self.last}"

    def read_cell(self, cell: str) -> str:
        """Return the text of a cell."""
        return cell.strip()

    def decode(self, number: float) -> str:
        """Return the date in ISO 8601, without a time."""
        return iso_date(number)

    def _encode(self, value: Any) -> float:
        days = days_of(value)
        if days is None:
            raise self._error("not_a_date", value)
        if not self.low <= days <= self.high:
            raise self._error("out_of_range", value)
        return days

    def _read_missing_texts(self) -> Iterable[float]:
        days = [days_of(text) for text in self.feature.missing_texts]
        return rounded_too(np.array([each for each in days if each is not None], np.float64))

    def _is_listed(self, value: Any) -> bool:
        is_date = bool(self.missing_numbers) and type(value) is str and days_of(value) in self.missing_numbers
        return is_date or super()._is_listed(value)

    def _check_encoded(self, value: Any) -> float:
        if type(value) not in NUMBER_TYPES or not self.low <= value <= self.high:
            raise self._error("out_of_range", value, f"days since 1970-01-01 from {self.low:.6g} to {self.high:.6g}")
        number: float = value
        return number


def days_of(value: Any) -> float | None:
    """Return the days since 1970-01-01 of a date in ISO 8601, None for another value."""
    try:
        moment = datetime.fromisoformat(value.strip())
    except (AttributeError, ValueError):
        return None
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) / DAY


def iso_date(days: float) -> str:
    """Return the date of a number of days since 1970-01-01."""
    return (EPOCH + math.floor(days) * DAY).date().isoformat()


COLUMNS: dict[str, type[InputColumn]] = {
    "number": NumberInput,
    "integer": IntegerInput,
    "boolean": BooleanInput,
    "category": CategoryInput,
    "date": DateInput,
}


def input_columns(signature: ModelSignature) -> list[InputColumn]:
    """Return the columns of a model, in its order."""
    return [COLUMNS[signature.type_of(feature)](feature) for feature in signature.features]
