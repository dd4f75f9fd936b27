"""Classes of a target: those of a classification, or normal rows and anomalies."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.column_facts import LEADING_ZERO
from workloads.ml.data.column_schema import Place
from workloads.ml.data.column_settings import DROP, as_yaml
from workloads.ml.data.columns import ColumnType, native_type, parse_number
from workloads.ml.data.missing_cells import MISSING_WORDS
from workloads.ml.data.target import Labels, Task
from workloads.ml.errors import StepError

if TYPE_CHECKING:
    import pyarrow as pa

MINIMUM_CLASS_ROWS = 5
"""Least rows of a class: the test part takes one row in five, and both parts need each class."""
ANOMALY_CLASSES = ["normal", "anomaly"]
ANOMALY_MARKS: dict[str | float, int] = {"false": 0, 0.0: 0, "true": 1, 1.0: 1}
"""Class index of the cells of an anomaly detection's target: texts in lower case, and numbers."""
PLAIN_NUMBER = re.compile(r"[+-]?\d*[.,]?\d*")
"""A number that can be spelled in other ways; one with an exponent, such as 1E2, may be a code."""
MOST_NUMERIC_CLASSES = 20
"""With more distinct numbers, the target is a class or a number to predict, and the user decides."""
MOST_CLASSES = 100_000
BOTH_READINGS = (
    "set `task: regression` to predict the number, or `task: classification` to predict one of these values as a class"
)


@dataclass
class ClassFacts:
    """Facts about the cells of a classification's target, gathered chunk by chunk.

    Args:
        rows: Number of cells.
        counts: Number of rows of each class; a class is the text of the cell.
        empty: Index of the first empty cell.
        words: Index of the first cell of each text that may mean an empty one.
        native: Type that the file gives the column; None for texts.
    """

    rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    empty: int | None = None
    words: dict[str, int] = field(default_factory=dict)
    native: ColumnType | None = None

    def observe(self, column: pa.ChunkedArray) -> None:
        """Add the next cells of the column."""
        texts, codes = class_codes(column)
        empty = np.flatnonzero(codes < 0)
        counts = np.bincount(codes[codes >= 0], minlength=len(texts)).tolist()
        found = ClassFacts(len(codes), {}, int(empty[0]) if len(empty) else None)
        found.native = native_type(column.type)
        for code, (text, count) in enumerate(zip(texts, counts, strict=True)):
            found.counts[text] = found.counts.get(text, 0) + count
            if count and text.lower() in MISSING_WORDS:
                found.words[text] = int((codes == code).argmax())
        self.merge(found)

    def merge(self, later: ClassFacts) -> None:
        """Add the facts about the cells that follow."""
        if self.empty is None and later.empty is not None:
            self.empty = self.rows + later.empty
        for text, row in later.words.items():
            self.words.setdefault(text, row + self.rows)
        self.native = later.native
        self.rows += later.rows
        for text, count in later.counts.items():
            self.counts[text] = self.counts.get(text, 0) + count
        if len(self.counts) > MOST_CLASSES:
            raise StepError(f"target: it holds more than {MOST_CLASSES} different values; {BOTH_READINGS}")


def class_codes(column: pa.ChunkedArray) -> tuple[list[str], NDArray[np.int64]]:
    """Return the texts of a column and the index of each cell's text; an empty cell is -1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks()
    encoded = whole if pa.types.is_dictionary(whole.type) else whole.dictionary_encode()
    texts = [_class_text(cell) for cell in encoded.dictionary.to_pylist()]
    return texts, pc.fill_null(pc.cast(encoded.indices, pa.int64()), -1).to_numpy()


def _class_text(cell: Any) -> str:
    """Return the text of a cell; that of a number is the same whatever the type of its column is."""
    if isinstance(cell, float | Decimal) and cell == cell // 1:
        return str(int(cell))
    return format(cell.normalize(), "f") if isinstance(cell, Decimal) else str(cell)


def join_numbers(target: str, facts: ClassFacts, decimal: str) -> list[str]:
    """Count all spellings of a number as one class, and return a sentence for each that is not the name of the class.

    Raises:
        StepError: Some spellings have leading zeros, as codes have.
    """
    spelled: dict[float, list[str]] = defaultdict(list)
    for text, count in facts.counts.items():
        if count and PLAIN_NUMBER.fullmatch(text) and np.isfinite(number := parse_number(text, decimal)):
            spelled[number].append(text)
    decisions = []
    for texts in spelled.values():
        name, *others = sorted(texts, key=lambda text: (len(text), text))
        if others and any(re.match(LEADING_ZERO, text) for text in texts):
            raise StepError(
                f"target: {', '.join(sorted(texts))} of column {target} are one number, and codes with leading zeros "
                "are different classes; write each class in one way"
            )
        for text in others:
            facts.counts[name] += facts.counts.pop(text)
            decisions.append(f"target: {text} of column {target} is the class {name}, the same number")
    return decisions


def decide_classes(
    target: str, facts: ClassFacts, task: Task | None, decimal: str, place: Place, *, confirmed: bool = False
) -> list[str]:
    """Return the sorted classes of a classification, or those of an anomaly detection.

    Args:
        target: Name of the target.
        facts: Facts about its cells.
        task: The task; None if the target decides.
        decimal: Decimal mark of cells of text.
        place: Returns the text for a column and a row.
        confirmed: True if the user says that each text is a class, also one such as NA.

    Raises:
        StepError: A cell is empty or may mean that, a class has too few rows, or the target may also be a number to
            predict.
    """
    if task is Task.ANOMALY:
        _check_anomalies(target, facts.counts, facts.rows)
        return ANOMALY_CLASSES
    if facts.empty is not None:
        raise StepError(
            f"target: {place(target, facts.empty)}: empty; every row needs a class; "
            f"to leave out such rows, write `columns: {as_yaml(target, {'missing': DROP})}`"
        )
    if facts.words and not confirmed:
        text, row = min(facts.words.items(), key=lambda word: word[1])
        raise StepError(
            f"target: {place(target, row)}: {text!r} is a class or a missing value; to leave out such rows, write "
            f"`columns: {as_yaml(target, {'missing': DROP, 'missing_texts': [text]})}`; if it is a class, "
            f"`{as_yaml(target, ColumnType.CATEGORY)}`"
        )
    classes, numeric = _sorted_classes({text for text, count in facts.counts.items() if count}, decimal)
    if task is None and numeric:
        _check_numeric_classes(target, classes, decimal)
    if len(classes) < 2:
        raise StepError(f"target: column {target} has one class only, {classes[0]}; at least two are needed")
    rarest = min(classes, key=lambda name: facts.counts[name])
    if facts.counts[rarest] < MINIMUM_CLASS_ROWS:
        remedy = "; to predict the number instead, set `task: regression`" if numeric and task is None else ""
        raise StepError(
            f"target: class {rarest} of column {target} has {facts.counts[rarest]} of {facts.rows} rows; "
            f"each class needs at least {MINIMUM_CLASS_ROWS}{remedy}"
        )
    return classes


def encode_classes(target: str, column: pa.ChunkedArray, classes: Sequence[str], decimal: str) -> Labels:
    """Return the class index of each cell.

    Raises:
        StepError: A cell is none of the classes: the file has changed.
    """
    texts, codes = class_codes(column)
    index: dict[str | float, int] = {parse_number(name, decimal): number for number, name in enumerate(classes)}
    index |= {name: number for number, name in enumerate(classes)}
    found = [index.get(text, index.get(parse_number(text, decimal), -1)) for text in texts]
    labels = np.array([*found, -1], dtype=np.int64)[codes]
    if (labels < 0).any():
        raise StepError(f"target: column {target} changed while it was read; run the pipeline again")
    return labels


def anomaly_cells(target: str, column: pa.ChunkedArray, decimal: str, first_row: int, place: Place) -> pa.ChunkedArray:
    """Return the class of each cell of an anomaly detection's target.

    Raises:
        StepError: A cell is neither true or 1, nor false or 0.
    """
    import pyarrow as pa

    texts, codes = class_codes(column)
    found = [ANOMALY_MARKS.get(text.lower(), ANOMALY_MARKS.get(parse_number(text, decimal), -1)) for text in texts]
    numbers = np.array([*found, -1], dtype=np.int64)[codes]
    if (numbers < 0).any():
        row = int(np.flatnonzero(numbers < 0)[0])
        cell = texts[codes[row]] if codes[row] >= 0 else "empty"
        raise StepError(
            f"target: {place(target, first_row + row)}: {cell.lower()}; with `task: anomaly`, a cell must be true or "
            "1 for an anomaly, false or 0 for a normal row"
        )
    return pa.chunked_array([pa.array(ANOMALY_CLASSES).take(pa.array(numbers))])


def _check_anomalies(target: str, counts: Mapping[str, int], rows: int) -> None:
    for kind in ANOMALY_CLASSES:
        if counts.get(kind, 0) < MINIMUM_CLASS_ROWS:
            raise StepError(
                f"target: column {target} marks {counts.get(kind, 0)} of {rows} rows as {kind}; at least "
                f"{MINIMUM_CLASS_ROWS} are needed: the detector is trained on normal rows, and tested on both"
            )


def _check_numeric_classes(target: str, classes: list[str], decimal: str) -> None:
    """Refuse classes that are numbers with a fraction, or many integers."""
    fraction = next((name for name in classes if not parse_number(name, decimal).is_integer()), None)
    if fraction is not None or len(classes) > MOST_NUMERIC_CLASSES:
        example = fraction or classes[-1]
        raise StepError(
            f"target: column {target} holds {len(classes)} different numbers, such as {example}; {BOTH_READINGS}"
        )


def _sorted_classes(classes: set[str], decimal: str) -> tuple[list[str], bool]:
    """Return the classes, and whether all are numbers: numbers in order of their values, texts in order of the text."""
    values = {name: parse_number(name, decimal) for name in classes}
    if not all(np.isfinite(value) for value in values.values()):
        return sorted(classes), False
    return sorted(classes, key=lambda name: (values[name], name)), True
