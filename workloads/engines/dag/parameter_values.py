"""Values of parameters: their types, their texts, and the placeholders of a package that stand for them."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from settings.types import LARGEST_EXACT_INTEGER

PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['+(?P<name>[^']+)'+\]\}\}")
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": (bool,),
    "LIST": (list,),
    "STRUCT": (dict,),
    "TASK_FINAL_STATUS": (dict,),
}

LONGEST_TEXT = 128 * 1024 - 1
"""Bytes of one argument or variable of a program that Linux starts, at most."""


class ParameterError(ValueError):
    """A value that a parameter does not accept."""


def typed(name: str, value: Any, parameter_type: str) -> Any:
    """Return the value as the backend of Kubeflow Pipelines passes it to a parameter.

    A text accepts every value, as JSON. JSON has one type of numbers: 5.0 becomes 5.

    Raises:
        ParameterError: the value has another type.
    """
    require_exact(name, value)
    value = _with_integers(value)
    if parameter_type == "STRING":
        return parameter_text(value)
    accepted = PYTHON_TYPES.get(parameter_type)
    if accepted is None:
        raise ParameterError(f"{name} has the type {parameter_type}, which only the engine kubeflow knows")
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in accepted):
        raise ParameterError(f"{name} is {value!r}, but must be of the type {parameter_type}")
    if parameter_type == "NUMBER_INTEGER" and not isinstance(value, int):
        raise ParameterError(f"{name} is {value!r}, but must be a whole number")
    return value


def parameter_text(value: Any) -> str:
    """Return the text of a value: a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(_with_integers(value), ensure_ascii=False)


def fill_placeholders(value: Any, constants: Mapping[str, str], inputs: Mapping[str, Any]) -> Any:
    """Return a value, or a structure of values, with the texts of parameters in place of their placeholders.

    Args:
        value: a value of a package.
        constants: the texts of the placeholders without a name, such as `{{$.pipeline_job_name}}`.
        inputs: the values of the input parameters by name.
    """
    if isinstance(value, dict):
        return {
            fill_placeholders(key, constants, inputs): fill_placeholders(each, constants, inputs)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [fill_placeholders(each, constants, inputs) for each in value]
    if not isinstance(value, str):
        return value
    for placeholder, text in constants.items():
        value = value.replace(placeholder, text)
    return PARAMETER.sub(lambda found: parameter_text(inputs.get(found["name"])), value)


def require_exact(name: str, value: Any) -> None:
    """Raise a ParameterError if the value is or contains a number that JSON cannot express, or not exactly."""
    if isinstance(value, dict):
        for key, each in value.items():
            require_exact(f"{name}.{key}", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            require_exact(f"{name}[{index}]", each)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ParameterError(
            f"{name} is {value}, which no parameter and no metadata can hold: they are JSON; "
            "use a text, leave it out, or write it to an artifact's file"
        )
    elif isinstance(value, int) and abs(value) > LARGEST_EXACT_INTEGER:
        raise ParameterError(
            f"{name} is {value}, and parameters and metadata keep whole numbers up to 2^53 only: their numbers are "
            "doubles; use a text, or write it to an artifact's file"
        )


def require_short(name: str, texts: Iterable[str], inputs: Mapping[str, Any]) -> None:
    """Raise a ParameterError if Linux starts no program with these arguments and variables.

    Args:
        name: the step or the run, for the message.
        texts: the arguments, and the variables with their names.
        inputs: the values by name from which they were made.
    """
    longest = max(len(os.fsencode(text)) for text in texts)
    if longest <= LONGEST_TEXT:
        return
    sizes = {each: len(json.dumps(value).encode()) for each, value in inputs.items()}
    largest = max(sizes, key=sizes.__getitem__, default="")
    remedy = (
        f"its largest input is {largest}, with {sizes[largest]:,} bytes: write it to a file, and pass the file as an "
        "artifact or by its address"
        if largest
        else "shorten its code"
    )
    raise ParameterError(
        f"{name} has an argument or a variable of {longest:,} bytes, and Linux allows {LONGEST_TEXT:,}; {remedy}"
    )


def _with_integers(value: Any) -> Any:
    """Return the value with integers in place of whole floating-point numbers."""
    if isinstance(value, dict):
        return {key: _with_integers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_integers(each) for each in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_EXACT_INTEGER:
        return int(value)
    return value
