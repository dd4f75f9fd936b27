"""Rows of encoded values, in the model's order, from JSON objects and CSV files."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson

from model_server.codecs.base_column import NUMBER_TYPES
from model_server.codecs.input_columns import NumberInput, input_columns
from model_server.codecs.json_decoder import describe_value, first_duplicate, is_object
from model_server.errors import RequestError
from model_server.model.model_package import ModelSignature

Encoders = Sequence[Callable[[Any], float]]


class RowReader:
    """Reader of rows for one signature; everything that does not depend on a request is computed once.

    The methods raise RequestError with the field and the row of the first error.
    """

    def __init__(self, signature: ModelSignature, max_rows: int) -> None:
        self.columns = input_columns(signature)
        self.names = [column.name for column in self.columns]
        self.max_rows = max_rows
        # Numbers need no encoding, so a range that is never true stands for all other columns.
        is_plain = [type(column) is NumberInput and not column.missing_numbers for column in self.columns]
        bounds = [
            (column.low, column.high) if plain else (math.inf, -math.inf)
            for column, plain in zip(self.columns, is_plain, strict=True)
        ]
        self._lowest, self._highest = zip(*bounds, strict=True)
        # Numbers within these bounds need no encoding. Columns of another kind need more than a comparison.
        plain = [column.plain_bounds for column in self.columns if type(column) is NumberInput]
        self.plain_bounds = list(zip(*plain, strict=True)) if len(plain) == len(self.columns) else None
        self._encoders: Encoders = [column.encode for column in self.columns]
        self._checks: Encoders = [column.check_encoded for column in self.columns]
        # itemgetter of a single name returns the bare value.
        self.pick = itemgetter(*self.names) if len(self.names) > 1 else lambda values: (values[self.names[0]],)

    def parse_fast(self, body: bytes) -> Sequence[float] | None:
        """Return the row of a body that is one valid JSON object; None if only the strict decoder can decide."""
        try:
            values = orjson.loads(body)
            row: Sequence[Any] = self.pick(values)
            if len(values) != len(self.names):
                return None
            texts = 0
            if not self._is_valid(row):
                texts = sum(type(value) is str for value in row)
                row = [encode(value) for encode, value in zip(self._encoders, row, strict=True)]
        except (ValueError, LookupError, TypeError, RequestError):
            return None
        # orjson accepts duplicate keys. With exactly two quotes for each name and each text, no key occurs twice.
        return row if body.count(b'"') == 2 * (len(self.names) + texts) else None

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
            header = [name if name in self.names else name.strip() for name in next(lines, [])]
            if (name := first_duplicate(header)) is not None:
                name = name[:100]
                raise RequestError(422, "duplicate_field", f"the header has {name!r} twice", field=name)
            positions = self.in_model_order({name: position for position, name in enumerate(header)})
            rows = []
            for row, cells in enumerate(lines):
                if row == self.max_rows:
                    self.check_row_count(row + 1)
                if len(cells) != len(header):
                    message = f"row {row} has {len(cells)} values, the header {len(header)}"
                    raise RequestError(422, "wrong_column_count", message, row=row)
                values = [
                    None if position is None else column.read_cell(cells[position])
                    for column, position in zip(self.columns, positions, strict=True)
                ]
                rows.append(self.check_row(values, row))
        except csv.Error as error:
            raise RequestError(400, "not_csv", f"the body is not CSV: {error}") from None
        self.check_row_count(len(rows))
        return rows

    def in_model_order(self, values: Mapping[str, Any], row: int | None = None) -> Sequence[Any]:
        """Return values by column name in the model's order, with None for an absent value that may be missing.

        Raises:
            RequestError: a column is absent, or a name is unknown.
        """
        try:
            ordered: Sequence[Any] = self.pick(values)
            known = len(self.names)
        except KeyError:
            for column in self.columns:
                if column.name not in values and not column.missing:
                    others = f", and {unknown!r} is not a field" if (unknown := self._unknown_name(values)) else ""
                    message = f"{column.name} is missing{others}"
                    raise RequestError(422, "missing_field", message, field=column.name, row=row) from None
            ordered = [values.get(name) for name in self.names]
            known = sum(name in values for name in self.names)
        if len(values) != known:
            unknown = self._unknown_name(values)
            message = f"{unknown!r} is not a field; the fields are {', '.join(self.names)[:1000]}"
            raise RequestError(422, "unknown_field", message, field=unknown, row=row)
        return ordered

    def _unknown_name(self, values: Mapping[str, Any]) -> str:
        """Return the first name that is not a field, "" if all are."""
        names = set(self.names)
        return next((name for name in values if name not in names), "")[:100]

    def check_row(self, values: Sequence[Any], row: int | None) -> list[float]:
        """Return the encoded row of values in the model's order; raise unless all are valid."""
        return self._encode(self._encoders, values, row)

    def check_encoded(self, values: Sequence[Any], row: int | None) -> list[float]:
        """Return a row in the model's order that the caller encoded; raise unless all values are valid."""
        return self._encode(self._checks, values, row)

    def check_row_count(self, rows: int) -> None:
        """Raise unless one request may have this number of rows."""
        if not rows:
            raise RequestError(422, "no_rows", "the request has no rows")
        if rows > self.max_rows:
            message = f"more rows than one request may have: {self.max_rows}"
            raise RequestError(422, "too_many_rows", message, row=self.max_rows)

    def _encode(self, encoders: Encoders, values: Sequence[Any], row: int | None) -> list[float]:
        if self._is_valid(values):
            return list(values)
        try:
            return [encode(value) for encode, value in zip(encoders, values, strict=True)]
        except RequestError as error:
            error.row = row
            raise

    def _is_valid(self, values: Sequence[Any]) -> bool:
        for value, low, high in zip(values, self._lowest, self._highest, strict=True):
            if type(value) not in NUMBER_TYPES or not low <= value <= high:
                return False
        return True
