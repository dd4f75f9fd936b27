"""The schema of a table: the type of each feature is certain from its cells, or the user says it, or it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from workloads.ml.data.column_facts import Cell, ColumnFacts
from workloads.ml.data.column_settings import (
    IGNORE,
    NO_SETTING,
    ColumnSetting,
    ColumnSettings,
    as_yaml,
    is_row_number,
)
from workloads.ml.data.columns import ColumnType
from workloads.ml.data.encoding import ColumnSchema
from workloads.ml.data.missing_cells import DECIMAL_COMMA, MISSING_WORDS, OTHER_DATE, spellings
from workloads.ml.errors import StepError

SHOWN = 5

Place = Callable[[str, int], str]
"""Returns the text for a column and the index of a row, such as `column age, row 5`."""


@dataclass(frozen=True)
class Decided:
    """Decisions about the features of a table.

    Args:
        schemas: The schema of each feature whose type is certain, in order.
        decisions: A sentence for each decision.
        errors: By name of the column, why its type is uncertain, with the text to write in `columns`.
    """

    schemas: list[ColumnSchema] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    errors: dict[str, str] = field(default_factory=dict)


def decide_features(
    names: Sequence[str], facts: Mapping[str, ColumnFacts], settings: ColumnSettings, place: Place
) -> Decided:
    """Return the schema of each feature, or the reason why its type is uncertain.

    Args:
        names: Columns that are not targets.
        facts: Facts about their cells; none about those that are ignored.
        settings: Types and missing values as the user states them.
        place: Returns the text for a column and a row.

    Raises:
        StepError: No column is left.
    """
    if not facts:
        raise StepError("columns: every column but the target is ignored; there must be a feature")
    decided = Decided()
    for name in names:
        setting = settings.get(name, NO_SETTING)
        if setting.type == IGNORE:
            reason = "pandas stored its row numbers there" if is_row_number(name) else "as columns says"
            decided.decisions.append(f"column {name}: ignored, {reason}")
            continue
        try:
            schema = _decide(name, facts[name], setting, place)
        except StepError as error:
            decided.errors[name] = str(error)
            continue
        decided.schemas.append(schema)
        decided.decisions.extend(_decisions(schema, said=bool(setting.type)))
    return decided


def _decide(name: str, facts: ColumnFacts, setting: ColumnSetting, place: Place) -> ColumnSchema:
    kind = ColumnType(setting.type) if setting.type else _detect(name, facts, place)
    # A program that cannot store an empty integer, such as pandas, writes the integers as other numbers.
    is_integer = kind is ColumnType.INTEGER or (kind is ColumnType.NUMBER and facts.whole and not setting.type)
    if is_integer and facts.large:
        raise StepError(
            f"{place(name, facts.large.row)}: {facts.large.text} is larger than 2^24, and models compute with 24 bits; "
            f"if it is a number, round it with `columns: {as_yaml(name, ColumnType.NUMBER)}`; if it is a code, write "
            f"`{as_yaml(name, ColumnType.CATEGORY)}`, or leave it out with `{as_yaml(name, IGNORE)}`"
        )
    return _schema(name, kind, facts, setting)


def _schema(name: str, kind: ColumnType, facts: ColumnFacts, setting: ColumnSetting) -> ColumnSchema:
    schema = ColumnSchema(name=name, type=str(kind))
    if setting.missing is True:
        schema["missing"] = True
    if setting.missing_texts:
        schema["missing_texts"] = spellings(setting.missing_texts, kind, facts.decimal)
    if kind is ColumnType.CATEGORY:
        schema["categories"] = list(setting.categories) or sorted(facts.texts)
        if not facts.present:
            raise StepError(f"column {name}: all cells are empty; leave it out with `columns: {as_yaml(name, IGNORE)}`")
    if setting.unknown:
        schema["unknown"] = True
    return schema


def _decisions(schema: ColumnSchema, *, said: bool) -> list[str]:
    reason = "as columns says" if said else "because of its cells"
    if schema["type"] == ColumnType.CATEGORY:
        categories = schema["categories"]
        shown = ", ".join(categories[:SHOWN]) + (", ..." if len(categories) > SHOWN else "")
        return [f"column {schema['name']}: {len(categories)} categories, {reason}: {shown}"]
    if schema["type"] == ColumnType.DATE:
        return [f"column {schema['name']}: dates, {reason}; the model receives days since 1970-01-01"]
    return [f"column {schema['name']}: {schema['type']}, {reason}"] if said else []


def _detect(name: str, facts: ColumnFacts, place: Place) -> ColumnType:
    """Return the type that the cells make certain.

    Raises:
        StepError: Another reading is possible.
    """
    ignore = f"leave the column out with `columns: {as_yaml(name, IGNORE)}`"
    if not facts.first:
        raise StepError(f"column {name}: all cells are empty; {ignore}")
    kind = facts.kind()
    if kind is ColumnType.INTEGER and facts.zero:
        raise StepError(
            f"{place(name, facts.zero.row)}: {facts.zero.text!r} is a code or an integer with leading zeros; "
            f"write `columns: {as_yaml(name, ColumnType.CATEGORY)}`, `{as_yaml(name, ColumnType.INTEGER)}`, or {ignore}"
        )
    if kind in (ColumnType.CATEGORY, ColumnType.TEXT):
        _check_numbers(name, facts, place)
    if kind is ColumnType.CATEGORY:
        _check_category(name, facts, place)
    if kind is ColumnType.TEXT:
        raise _text_refusal(name, facts, facts.first, place, ignore)
    return kind


def _check_category(name: str, facts: ColumnFacts, place: Place) -> None:
    """Refuse a column of few texts if some look like dates, or like a missing value."""
    cells = [Cell(row, text) for text, row in facts.texts.items()]
    for cell in cells:
        if OTHER_DATE.match(cell.text):
            raise StepError(
                f"{place(name, cell.row)}: {cell.text!r} may be a date; write dates as 2024-02-29, or "
                f"use each value as a category with `columns: {as_yaml(name, ColumnType.CATEGORY)}`"
            )
    for cell in cells:
        if cell.text.lower() in MISSING_WORDS:
            missing = {"type": ColumnType.CATEGORY, "missing": True, "missing_texts": [cell.text]}
            raise StepError(
                f"{place(name, cell.row)}: {cell.text!r} is a category or a missing value; write "
                f"`columns: {as_yaml(name, missing)}`, or `{as_yaml(name, ColumnType.CATEGORY)}`"
            )


def _check_numbers(name: str, facts: ColumnFacts, place: Place) -> None:
    """Refuse a column in which some cells are numbers and others are not."""
    odd = facts.odd
    if odd is None:
        return
    if DECIMAL_COMMA.fullmatch(odd.text) and facts.decimal != ",":
        remedy = "if the comma is a decimal comma, set csv_format.decimal to ','"
    elif facts.numeric and odd.text.casefold() in MISSING_WORDS:
        missing = {"missing": True, "missing_texts": [odd.text]}
        remedy = f"if it is a missing value, write `columns: {as_yaml(name, missing)}`"
    elif facts.numeric:
        remedy = f"correct the cell; if the column holds texts, write `columns: {as_yaml(name, ColumnType.CATEGORY)}`"
    else:
        return
    others = f" {facts.numeric} of {facts.present} cells are numbers, this one is not;" if facts.numeric else ""
    raise StepError(f"{place(name, odd.row)}: {odd.text!r};{others} {remedy}")


def _text_refusal(name: str, facts: ColumnFacts, cell: Cell, place: Place, ignore: str) -> StepError:
    found = f"{place(name, cell.row)}: {cell.text!r}"
    if OTHER_DATE.match(cell.text):
        return StepError(f"{found} may be a date; write dates as 2024-02-29, or {ignore}")
    return StepError(
        f"{found}; the column holds text with {facts.distinct()} different values in {facts.present} rows; {ignore}, "
        f"or use each value as a category with `{as_yaml(name, ColumnType.CATEGORY)}`"
    )
