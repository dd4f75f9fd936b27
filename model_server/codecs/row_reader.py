"""Rows of numbers, in the model's order, from what a client sent by name."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import Any, NoReturn

import orjson

from model_server.codecs.json_decoder import describe_value, first_repeated, is_object
from model_server.errors import RequestError
from model_server.model.package import ModelSignature

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""What counts as a number in CSV: Python's own `float` also takes 1_000, infinity and nan."""
NUMBERS = frozenset({int, float})


class RowReader:
    """Reads rows for one signature, prepared once so that a request costs little."""

    def __init__(self, signature: ModelSignature, max_rows: int) -> None:
        self.names = [feature.name for feature in signature.features]
        self.max_rows = max_rows
        self._bounds = [feature.bounds() for feature in signature.features]
        self._lowest, self._highest = zip(*self._bounds, strict=True)
        # itemgetter of a single name returns the bare value.
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else lambda values: (values[self.names[0]],)

    def of_plain(self, body: bytes) -> list[float] | None:
        """The row of a body that is one JSON object without a fault; None where only a closer look can tell."""
        try:
            values = orjson.loads(body)
            row = self._pick(values)
        except (ValueError, LookupError, TypeError):
            return None
        # Two quotes for each name and no more: none is there twice, which this reader would not have noticed.
        if len(values) != len(self.names) or body.count(b'"') != 2 * len(self.names) or not self._sound(row):
            return None
        return list(row)

    def of_object(self, values: Any, row: int | None = None) -> list[float]:
        """The row of one JSON object, whose keys are the features' names in any order.

        Raises:
            RequestError: with the field and row at fault.
        """
        if not is_object(values, row=row):
            raise RequestError(422, "not_an_object", f"expected an object, got {describe_value(values)}", row=row)
        return self.of_numbers(self.pick(values, row), row)

    def pick(self, given: Mapping[str, Any], row: int | None = None) -> Sequence[Any]:
        """What is given by the features' names, in the model's order.

        Raises:
            RequestError: a feature is missing, or a name is no feature.
        """
        try:
            picked: Sequence[Any] = self._pick(given)
        except KeyError:
            self._misfit(given, row)
        if len(given) != len(self.names):
            self._misfit(given, row)
        return picked

    def of_objects(self, objects: list[Any]) -> list[list[float]]:
        """The rows of a list of objects."""
        self.count(len(objects))
        return [self.of_object(values, row) for row, values in enumerate(objects)]

    def of_csv(self, text: str) -> list[list[float]]:
        """The rows of a CSV file whose header has the features' names in any order."""
        lines = csv.reader(io.StringIO(text.rstrip(), newline=""), strict=True)
        try:
            header = [name.strip() for name in next(lines, [])]
            if (name := first_repeated(header)) is not None:
                name = name[:100]
                raise RequestError(422, "duplicate_field", f"the header has {name!r} twice", field=name)
            order = self.pick({name: place for place, name in enumerate(header)})
            rows = []
            for row, cells in enumerate(lines):
                if row == self.max_rows:
                    self.count(row + 1)
                if len(cells) != len(header):
                    message = f"row {row} has {len(cells)} values, the header {len(header)}"
                    raise RequestError(422, "wrong_column_count", message, row=row)
                rows.append(self.of_numbers([_number(cells[place]) for place in order], row))
        except csv.Error as error:
            raise RequestError(400, "not_csv", f"the body is not CSV: {error}") from None
        self.count(len(rows))
        return rows

    def of_numbers(self, numbers: Sequence[Any], row: int | None) -> list[float]:
        """A row of these values, one for each feature in the model's order, if all are numbers within bounds."""
        if not self._sound(numbers):
            self._complain(numbers, row)
        return list(numbers)

    def count(self, rows: int) -> None:
        """Raises RequestError unless that many rows may come in one request."""
        if not rows:
            raise RequestError(422, "no_rows", "there is no row to predict")
        if rows > self.max_rows:
            message = f"more rows than one request may have: {self.max_rows}"
            raise RequestError(422, "too_many_rows", message, row=self.max_rows)

    def _sound(self, numbers: Sequence[Any]) -> bool:
        """Whether all are numbers within bounds."""
        for number, low, high in zip(numbers, self._lowest, self._highest, strict=True):
            if type(number) not in NUMBERS or not low <= number <= high:
                return False
        return True

    def _complain(self, numbers: Sequence[Any], row: int | None) -> NoReturn:
        for name, number, (low, high) in zip(self.names, numbers, self._bounds, strict=True):
            allowed = f"expected a number from {low:.6g} to {high:.6g}, got {describe_value(number)}"
            if type(number) not in NUMBERS:
                raise RequestError(422, "not_a_number", f"{name}: {allowed}", field=name, row=row)
            if type(number) is float and not math.isfinite(number):
                raise RequestError(422, "not_finite", f"{name}: {allowed}", field=name, row=row)
            if not low <= number <= high:
                raise RequestError(422, "out_of_range", f"{name}: {allowed}", field=name, row=row)
        raise AssertionError("called for a row without a fault")

    def _misfit(self, given: Mapping[str, Any], row: int | None) -> NoReturn:
        for name in self.names:
            if name not in given:
                raise RequestError(422, "missing_field", f"{name} is missing", field=name, row=row)
        unknown = next(iter(given.keys() - set(self.names)))[:100]
        message = f"{unknown!r} is not a field; the fields are {', '.join(self.names)[:1000]}"
        raise RequestError(422, "unknown_field", message, field=unknown, row=row)


def _number(cell: str) -> float | str:
    cell = cell.strip()
    return float(cell) if NUMBER.fullmatch(cell) else cell
