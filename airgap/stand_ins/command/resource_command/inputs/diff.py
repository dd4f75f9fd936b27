"""The difference between two sets of inputs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum

from airgap.stand_ins.protocol.property_values import Properties, Value


class Change(Enum):
    """The kind of a change."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


def diff(old: Properties, new: Properties) -> dict[str, Change]:
    """Return the changes by property path, such as `environment.NAME` or `triggers[0]`.

    Inputs of the engine (`version`, and names that begin with two underscores) are ignored.
    """
    return dict(_diff_maps("", _without_engine_inputs(old), _without_engine_inputs(new)))


def _without_engine_inputs(inputs: Properties) -> Properties:
    return {name: value for name, value in inputs.items() if name != "version" and not name.startswith("__")}


def _diff_maps(path: str, old: Properties, new: Properties) -> Iterator[tuple[str, Change]]:
    for key in old | new:
        yield from _diff(_join(path, key), old.get(key), new.get(key))


def _diff(path: str, old: Value, new: Value) -> Iterator[tuple[str, Change]]:
    if isinstance(old, dict) and isinstance(new, dict):
        yield from _diff_maps(path, old, new)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(old) or index >= len(new):
                yield f"{path}[{index}]", Change.ADD if index >= len(old) else Change.DELETE
            else:
                yield from _diff(f"{path}[{index}]", old[index], new[index])
    elif old != new:
        added, deleted = old is None, new is None
        yield path, Change.ADD if added else Change.DELETE if deleted else Change.UPDATE


def _join(path: str, key: str) -> str:
    if re.search(r"\W", key, re.ASCII):
        return path + '["' + key.replace('"', r"\"") + '"]'
    return f"{path}.{key}" if path else key
