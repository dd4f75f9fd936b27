"""Facts about the cells of a column, gathered chunk by chunk: they decide its type without all cells in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import (
    DATE,
    MOST_CATEGORIES,
    ColumnType,
    are_booleans,
    cast_numbers,
    native_type,
    parse_number,
    text_cells,
)
from workloads.ml.data.missing_cells import with_nulls

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST_EXACT = 1 << 24
"""Integers beyond it lose digits in float32."""
LEADING_ZERO = r"^[+-]?0\d"
INTEGER = r"^[+-]?\d+$"
MOST_DISTINCT = 10_000
"""Different texts of a column that are counted, at most."""
TEXT_TYPES = (ColumnType.BOOLEAN, ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.DATE)
"""Types that cells of text may have, the narrowest first."""


@dataclass(frozen=True)
class Cell:
    """A cell: the index of its row and its text."""

    row: int
    text: str

    def after(self, rows: int) -> Cell:
        """Return the cell as part of a longer column, with this number of rows before."""
        return Cell(self.row + rows, self.text)


@dataclass
class ColumnFacts:
    """Facts about consecutive cells of one column.

    Args:
        decimal: Decimal mark of cells of text.
        missing_texts: Texts that count as an empty cell.
        said: Type that the user says; None if the cells decide.
        all_categories: True to keep every different text: the user says that the column is a category.
        rows: Number of cells.
        present: Number of cells that are not missing.
        numeric: Number of cells that are finite numbers.
        native: Type that the file gives the column; None for texts.
        possible: Types of texts that every cell has.
        first: The first cell that is present.
        odd: The first cell that is present and no finite number.
        zero: The first integer with leading zeros.
        large: The first number beyond 2^24.
        whole: True if no number has a fraction.
        texts: The first row of each different text, as far as they matter.
        overflow: True if there are more different texts.
    """

    decimal: str
    missing_texts: tuple[str, ...] = ()
    said: ColumnType | None = None
    all_categories: bool = False
    rows: int = 0
    present: int = 0
    numeric: int = 0
    native: ColumnType | None = None
    possible: set[ColumnType] = field(default_factory=lambda: set(TEXT_TYPES))
    first: Cell | None = None
    odd: Cell | None = None
    zero: Cell | None = None
    large: Cell | None = None
    whole: bool = True
    texts: dict[str, int] = field(default_factory=dict)
    overflow: bool = False

    def observe(self, column: pa.ChunkedArray) -> None:
        """Add the next cells of the column."""
        cells = with_nulls(column, self.missing_texts, self.decimal, self.said)
        here = ColumnFacts(self.decimal, self.missing_texts, self.said, self.all_categories, rows=len(cells))
        here.native = native_type(cells.type)
        valid = np.flatnonzero(cells.is_valid().to_numpy())
        here.present = len(valid)
        if len(valid):
            here._observe_present(cells.drop_null(), valid)
        self.merge(here)

    def merge(self, later: ColumnFacts) -> None:
        """Add the facts about the cells that follow."""
        for name in ("first", "odd", "zero", "large"):
            found = getattr(later, name)
            if getattr(self, name) is None and found is not None:
                setattr(self, name, found.after(self.rows))
        for text, row in later.texts.items():
            self.texts.setdefault(text, row + self.rows)
        self.native = self._wider_type(later)
        self.rows += later.rows
        self.present += later.present
        self.numeric += later.numeric
        self.possible &= later.possible
        self.whole = self.whole and later.whole
        self.overflow = self.overflow or later.overflow
        if not self.all_categories:
            if self.numeric:
                self.texts.clear()
            elif len(self.texts) > MOST_DISTINCT:
                self.overflow = True
                self.texts = dict(list(self.texts.items())[:MOST_DISTINCT])

    def kind(self) -> ColumnType:
        """Return the type that every cell has; of cells with different types, and without cells, it is text."""
        if self.native is not None:
            return self.native
        if not self.present:
            return ColumnType.TEXT
        for kind in TEXT_TYPES:
            if kind in self.possible:
                return kind
        few = not self.overflow and len(self.texts) <= min(MOST_CATEGORIES, self.present // 2)
        return ColumnType.CATEGORY if few else ColumnType.TEXT

    def distinct(self) -> str:
        """Return the number of different texts."""
        return f"more than {MOST_DISTINCT}" if self.overflow else str(len(self.texts))

    def _wider_type(self, later: ColumnFacts) -> ColumnType | None:
        """Return the type of both; cells that are all missing have the type of the others."""
        if self.present and later.present and self.native != later.native:
            return ColumnType.NUMBER
        return self.native if self.present or not later.present else later.native

    def _observe_present(self, cells: pa.ChunkedArray, rows: NDArray[np.int64]) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.first = _cell(cells, rows, 0)
        if self.native in (ColumnType.NUMBER, ColumnType.INTEGER):
            values = pc.cast(cells, pa.float64(), safe=False).to_numpy()
            self._observe_sizes(cells, rows, values)
        if self.native is None:
            cells = text_cells(cells)
            numbers = cast_numbers(cells, self.decimal)
            if numbers is None:
                self._observe_texts(cells, rows)
            else:
                self._observe_numbers(cells, rows, numbers.to_numpy())
        if self.all_categories or (self.native is None and not self.numeric):
            self.texts = _first_rows(text_cells(cells), rows)

    def _observe_sizes(self, cells: pa.ChunkedArray, rows: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        finite = np.where(np.isfinite(values), values, 0)
        self.large = _first(cells, rows, np.abs(finite) > LARGEST_EXACT)
        self.whole = bool((finite == np.floor(finite)).all())

    def _observe_numbers(self, cells: pa.ChunkedArray, rows: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        import pyarrow.compute as pc

        finite = np.isfinite(values)
        self.numeric = int(finite.sum())
        self.odd = _first(cells, rows, ~finite)
        self._observe_sizes(cells, rows, values)
        self.possible = {ColumnType.NUMBER}
        if pc.all(pc.match_substring_regex(cells, INTEGER)).as_py():
            self.possible.add(ColumnType.INTEGER)
            self.zero = _first(cells, rows, pc.match_substring_regex(cells, LEADING_ZERO).to_numpy())

    def _observe_texts(self, cells: pa.ChunkedArray, rows: NDArray[np.int64]) -> None:
        import pyarrow.compute as pc

        encoded = cells.combine_chunks().dictionary_encode()
        finite = np.array([np.isfinite(parse_number(each, self.decimal)) for each in encoded.dictionary.to_pylist()])
        numeric = finite[encoded.indices.to_numpy()]
        self.numeric = int(numeric.sum())
        self.odd = _first(cells, rows, ~numeric)
        self.possible = {ColumnType.BOOLEAN} if are_booleans(cells) else set()
        if pc.all(pc.match_substring_regex(cells, DATE)).as_py():
            self.possible.add(ColumnType.DATE)


def _cell(cells: Any, rows: NDArray[np.int64], index: int) -> Cell:
    return Cell(int(rows[index]), str(cells[index].as_py()))


def _first(cells: Any, rows: NDArray[np.int64], mask: NDArray[np.bool_]) -> Cell | None:
    """Return the first cell of a mask, None without one."""
    return _cell(cells, rows, int(mask.argmax())) if mask.any() else None


def _first_rows(cells: pa.ChunkedArray, rows: NDArray[np.int64]) -> dict[str, int]:
    """Return the first row of each different text."""
    encoded = cells.combine_chunks().dictionary_encode()
    codes, first = np.unique(encoded.indices.to_numpy(), return_index=True)
    texts = encoded.dictionary.to_pylist()
    return {texts[code]: int(rows[index]) for code, index in zip(codes, first, strict=True)}
