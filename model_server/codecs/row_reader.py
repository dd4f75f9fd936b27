"""Rows of numbers, in the model's order, from JSON objects and CSV files."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NoReturn

import orjson

from model_server.codecs.json_decoder import describe_value, first_duplicate, is_object
from model_server.errors import RequestError
from model_server.model.model_package import ModelSignature

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number in CSV. Python's `float` would also accept 1_000, infinity and nan."""
NUMBER_TYPES = frozenset({int, float})
BOOLEANS = {"true": True, "false": False}
"""Booleans in CSV, in lower case."""


class RowReader:
    """Reader of rows for one signature; everything that does not depend on a request is computed once.

    The methods raise RequestError with the field and the row of the first error.
    """

    def __init__(self, signature: ModelSignature, max_rows: int) -> None:
        self.names = [feature.name for feature in signature.features]
        self.max_rows = max_rows
        self._bounds = [feature.bounds() for feature in signature.features]
        self._accepts_booleans = [feature.accepts_booleans for feature in signature.features]
        self._lowest, self._highest = zip(*self._bounds, strict=True)
        # itemgetter of a single name returns the bare value.
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else lambda values: (values[self.names[0]],)

    def parse_fast(self, body: bytes) -> Sequence[float] | None:
        """Return the row of a body that is one valid JSON object; None if only the strict decoder can decide."""
        try:
            values = orjson.loads(body)
            row: Sequence[float] = self._pick(values)
        except (ValueError, LookupError, TypeError):
            return None
        # orjson accepts duplicate keys. With exactly two quotes for each name, no key occurs twice.
        if len(values) != len(self.names) or body.count(b'"') != 2 * len(self.names) or not self._is_valid(row):
            return None
        return row

    def parse_object(self, values: Any, row: int | None = None) -> list[float]:
        """Return the row of one JSON object, whose keys are the features' names in any order."""
        if not is_object(values, row=row):
            raise RequestError(422, "not_an_object", f"expected an object, got {describe_value(values)}", row=row)
        return self.check_row(self.in_model_order(values, row), row)

    def parse_objects(self, objects: list[Any]) -> list[list[float]]:
        """Return the rows of a list of JSON objects."""
        self.check_row_count(len(objects))
        return [self.parse_object(values, row) for row, values in enumerate(objects)]

    def parse_csv(self, text: str) -> list[list[float]]:
        """Return the rows of a CSV file whose header has the features' names in any order."""
        lines = csv.reader(io.StringIO(text.rstrip(), newline=""), strict=True)
        try:
            header = [name.strip() for name in next(lines, [])]
            if (name := first_duplicate(header)) is not None:
                name = name[:100]
                raise RequestError(422, "duplicate_field", f"the header has {name!r} twice", field=name)
            columns = self.in_model_order({name: column for column, name in enumerate(header)})
            rows = []
            for row, cells in enumerate(lines):
                if row == self.max_rows:
                    self.check_row_count(row + 1)
                if len(cells) != len(header):
                    message = f"row {row} has {len(cells)} values, the header {len(header)}"
                    raise RequestError(422, "wrong_column_count", message, row=row)
                rows.append(self.check_row([_value(cells[column]) for column in columns], row))
        except csv.Error as error:
            raise RequestError(400, "not_csv", f"the body is not CSV: {error}") from None
        self.check_row_count(len(rows))
        return rows

    def in_model_order(self, values: Mapping[str, Any], row: int | None = None) -> Sequence[Any]:
        """Return values by feature name in the model's order; raise if a feature is missing or a name is unknown."""
        try:
            ordered: Sequence[Any] = self._pick(values)
        except KeyError:
            self._raise_wrong_names(values, row)
        if len(values) != len(self.names):
            self._raise_wrong_names(values, row)
        return ordered

    def check_row(self, values: Sequence[Any], row: int | None) -> list[float]:
        """Return a row of values in the model's order; raise unless all are numbers within bounds.

        A boolean becomes 0 or 1 if its feature accepts booleans.
        """
        if not self._is_valid(values):
            values = [
                int(value) if accepted and type(value) is bool else value
                for value, accepted in zip(values, self._accepts_booleans, strict=True)
            ]
            if not self._is_valid(values):
                self._raise_bad_value(values, row)
        return list(values)

    def check_row_count(self, rows: int) -> None:
        """Raise unless one request may have this number of rows."""
        if not rows:
            raise RequestError(422, "no_rows", "the request has no rows")
        if rows > self.max_rows:
            message = f"more rows than one request may have: {self.max_rows}"
            raise RequestError(422, "too_many_rows", message, row=self.max_rows)

    def _is_valid(self, values: Sequence[Any]) -> bool:
        for value, low, high in zip(values, self._lowest, self._highest, strict=True):
            if type(value) not in NUMBER_TYPES or not low <= value <= high:
                return False
        return True

    def _raise_bad_value(self, values: Sequence[Any], row: int | None) -> NoReturn:
        for name, value, (low, high) in zip(self.names, values, self._bounds, strict=True):
            message = f"{name}: expected a number from {low:.6g} to {high:.6g}, got {describe_value(value)}"
            if type(value) not in NUMBER_TYPES:
                raise RequestError(422, "not_a_number", message, field=name, row=row)
            if type(value) is float and not math.isfinite(value):
                raise RequestError(422, "not_finite", message, field=name, row=row)
            if not low <= value <= high:
                raise RequestError(422, "out_of_range", message, field=name, row=row)
        raise AssertionError("called for a valid row")

    def _raise_wrong_names(self, values: Mapping[str, Any], row: int | None) -> NoReturn:
        for name in self.names:
            if name not in values:
                raise RequestError(422, "missing_field", f"{name} is missing", field=name, row=row)
        unknown = next(iter(values.keys() - set(self.names)))[:100]
        message = f"{unknown!r} is not a field; the fields are {', '.join(self.names)[:1000]}"
        raise RequestError(422, "unknown_field", message, field=unknown, row=row)


def _value(cell: str) -> float | bool | str:
    cell = cell.strip()
    return float(cell) if NUMBER.fullmatch(cell) else BOOLEANS.get(cell.lower(), cell)
