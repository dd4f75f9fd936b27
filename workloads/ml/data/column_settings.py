"""The parameter `columns` of a pipeline: types and missing values of columns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

from workloads.ml.data.columns import ColumnType, name_key
from workloads.ml.errors import StepError

IGNORE = "ignore"
DROP = "drop"
TYPES = [str(kind) for kind in ColumnType if kind is not ColumnType.TEXT]
ALLOWED_TYPES = ", ".join([*TYPES, IGNORE])


@dataclass(frozen=True)
class ColumnSetting:
    """Setting of one column; without a type, the type is detected.

    Args:
        type: A type of column, or `ignore`: the column is neither feature nor target.
        missing: True if cells may be empty; `drop` leaves out the rows with an empty cell.
        missing_texts: Texts that mean an empty cell, such as NA.
        categories: All categories in their order; empty for those of the data, sorted.
        unknown: True if an unlisted category counts as missing when the model predicts.
        unit: Unit of a target, such as EUR.
    """

    type: str = ""
    missing: bool | Literal["drop"] = False
    missing_texts: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unknown: bool = False
    unit: str = ""

    @property
    def kind(self) -> ColumnType | None:
        """Return the type of the cells that the user says."""
        return ColumnType(self.type) if self.type in TYPES else None


NO_SETTING = ColumnSetting()
TARGET_KEYS = ("type", "missing", "missing_texts", "unit")
ColumnSettings = Mapping[str, ColumnSetting]
"""Settings by name of the column, as the file has it."""


def parse_column_settings(columns: Mapping[str, Any], names: Sequence[str], targets: Sequence[str]) -> ColumnSettings:
    """Return the settings of a pipeline's parameter `columns`. Row numbers of pandas are ignored unless it names them.

    Args:
        columns: A type, `ignore` or a mapping for each name; case and punctuation of names may differ.
        names: Columns of the file.
        targets: Columns of the file that are targets.

    Raises:
        StepError: A column does not exist, or a key or value is not allowed.
    """
    by_key = {name_key(name): name for name in names}
    settings: dict[str, ColumnSetting] = {}
    for given, value in columns.items():
        name = by_key.get(name_key(given))
        if name is None:
            raise StepError(f"columns: there is no column {given!r}; the columns are: {', '.join(names)}")
        if name in settings:
            raise StepError(f"columns: column {name} is named twice")
        settings[name] = _parse(f"columns.{given}", value)
        if name in targets:
            _check_target(f"columns.{given}", settings[name])
        elif settings[name].unit:
            raise StepError(f"columns.{given}.unit: only a target has a unit")
    row_numbers = {name for name in names if is_row_number(name)} - settings.keys() - {*targets}
    return {**settings, **dict.fromkeys(row_numbers, ColumnSetting(type=IGNORE))}


def as_yaml(name: str, setting: str | Mapping[str, Any]) -> str:
    """Return the setting of a column as text for the parameter `columns`: YAML, whatever characters the name has."""
    import yaml

    plain = json.loads(json.dumps({name: setting}))  # YAML has no enumerations
    text = yaml.safe_dump(plain, default_flow_style=True, allow_unicode=True, sort_keys=False, width=math.inf)
    return str(text).strip()


def is_row_number(name: str) -> bool:
    """Return True for the name that pandas gives to the row numbers of a filtered table in a Parquet file."""
    return re.fullmatch(r"__index_level_\d+__", name) is not None


def _parse(place: str, value: Any) -> ColumnSetting:
    given = {"type": value} if isinstance(value, str) else value
    keys = [field.name for field in fields(ColumnSetting)]
    if not isinstance(given, Mapping):
        raise StepError(f"{place}: {value!r}; it must be one of {ALLOWED_TYPES}, or a mapping of {', '.join(keys)}")
    if unknown := sorted(set(given) - set(keys)):
        raise StepError(f"{place}: unknown key {', '.join(unknown)}; the keys are: {', '.join(keys)}")
    kind = given.get("type", "")
    if kind and kind not in (*TYPES, IGNORE):
        raise StepError(f"{place}.type: {kind!r}; it must be one of {ALLOWED_TYPES}")
    missing: Any = given.get("missing", False)
    if missing not in (True, False, DROP):
        raise StepError(f"{place}.missing: {missing!r}; it must be true, false or {DROP}")
    unlisted: Any = given.get("unknown", False)
    if not isinstance(unlisted, bool):
        raise StepError(f"{place}.unknown: {unlisted!r}; it must be true or false")
    categories = _texts(f"{place}.categories", given.get("categories", ()))
    if (categories or unlisted) and kind != ColumnType.CATEGORY:
        raise StepError(f"{place}: categories and unknown need `type: category`")
    if len(set(categories)) < len(categories):
        raise StepError(f"{place}.categories: a category is named twice")
    return ColumnSetting(
        type=kind,
        missing=missing,
        missing_texts=_texts(f"{place}.missing_texts", given.get("missing_texts", ())),
        categories=categories,
        unknown=unlisted,
        unit=str(given.get("unit", "")),
    )


def _texts(place: str, value: Any) -> tuple[str, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values):
        raise StepError(f"{place}: {value!r}; it must be a list of texts, such as [NA]; put true and false in quotes")
    return tuple(str(each).strip() for each in values)


def _check_target(place: str, setting: ColumnSetting) -> None:
    if setting.type == IGNORE:
        raise StepError(f"{place}: the target cannot be ignored")
    if (
        setting.type not in ("", ColumnType.CATEGORY)
        or setting.categories
        or setting.unknown
        or setting.missing is True
    ):
        raise StepError(
            f"{place}: a target takes only {', '.join(TARGET_KEYS)}, missing only with the value {DROP}, and type only "
            f"with {ColumnType.CATEGORY}: each text is a class; the parameter task says whether it holds classes or "
            "numbers"
        )
