"""The tensors of the open inference protocol, version 2, in its JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_server.codecs.json_decoder import describe_value, is_object
from model_server.errors import RequestError
from model_server.model.model import FEATURES, OUTPUTS, Model, Rows

FLOATS = ("FP32", "FP64")
INTEGERS = ("INT8", "INT16", "INT32", "INT64")


def check_request(request: Any) -> None:
    """Raises RequestError unless the request has the members of an inference request."""
    _check_members(request, "", required={"inputs"}, optional={"id", "parameters", "outputs"})
    if "id" in request and not isinstance(request["id"], str):
        raise _unexpected("id", "a text", request["id"])


def rows_of(request: dict[str, Any], model: Model) -> Rows:
    """The rows [rows, features] of a request: of one tensor `features`, or of one tensor [rows] for each feature.

    Raises:
        RequestError: with the member, or the feature and row, at fault.
    """
    reader = model.rows
    tensors: dict[str, tuple[str, Any]] = {}
    for where, tensor in _members(request, "inputs"):
        _check_members(tensor, where, required={"name", "shape", "datatype", "data"}, optional={"parameters"})
        name = tensor["name"]
        if not isinstance(name, str):
            raise _unexpected(f"{where}.name", "a text", name)
        if name in tensors:
            name = name[:100]
            raise RequestError(422, "duplicate_field", f"two inputs are named {name!r}", field=name)
        tensors[name] = where, tensor
    if list(tensors) == [FEATURES]:
        where, tensor = tensors[FEATURES]
        rows = _matrix(tensor, where, reader.names)
    else:
        columns = [_matrix(tensor, where, [tensor["name"]]) for where, tensor in reader.pick(tensors)]
        if len({len(column) for column in columns}) > 1:
            raise RequestError(422, "bad_shape", "the inputs differ in their number of rows", field="inputs")
        rows = [[value for (value,) in parts] for parts in zip(*columns, strict=True)]
    reader.count(len(rows))
    return [reader.of_numbers(values, row) for row, values in enumerate(rows)]


def wanted_outputs(request: dict[str, Any]) -> Sequence[str]:
    """The outputs that a request asks for: all where it names none."""
    if "outputs" not in request:
        return OUTPUTS
    names = []
    for where, output in _members(request, "outputs"):
        _check_members(output, where, required={"name"}, optional={"parameters"})
        if output["name"] not in OUTPUTS:
            raise _unexpected(f"{where}.name", f"one of {', '.join(OUTPUTS)}", output["name"])
        names.append(output["name"])
    return names


def output_tensors(names: Sequence[str], model: Model, labels: list[int], probabilities: Rows) -> list[dict[str, Any]]:
    """The named outputs of predictions: `label` [rows] and `probabilities` [rows, classes], flattened."""
    shape = [len(labels), len(model.signature.classes)]
    flat = [probability for row in probabilities for probability in row]
    tensors = {
        "label": {"name": "label", "datatype": "INT64", "shape": shape[:1], "data": labels},
        "probabilities": {"name": "probabilities", "datatype": "FP32", "shape": shape, "data": flat},
    }
    return [tensors[name] for name in names]


def _matrix(tensor: dict[str, Any], where: str, names: Sequence[str]) -> list[list[Any]]:
    """A tensor's data as rows of one value for each name; whether these are numbers is not looked at here."""
    shape, datatype, data = tensor["shape"], tensor["datatype"], tensor["data"]
    columns = len(names)
    allowed = "[rows] or [rows, 1]" if columns == 1 else f"[rows, {columns}]"
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise _unexpected(f"{where}.shape", allowed, shape)
    if shape[1:] != [columns] and not (columns == len(shape) == 1):
        raise RequestError(422, "bad_shape", f"{where}.shape: expected {allowed}", field=f"{where}.shape")
    if datatype not in FLOATS + INTEGERS:
        raise _unexpected(f"{where}.datatype", f"one of {', '.join(FLOATS + INTEGERS)}", datatype)
    if not isinstance(data, list):
        raise _unexpected(f"{where}.data", "a list", data)
    if data and isinstance(data[0], list):
        rows = data
    else:
        rows = [data[start : start + columns] for start in range(0, len(data), columns)]
    if len(rows) != shape[0] or not all(isinstance(row, list) and len(row) == columns for row in rows):
        message = f"{where}.data does not have the number of values that its shape says"
        raise RequestError(422, "bad_shape", message, field=f"{where}.data")
    if datatype in INTEGERS:
        for number, row in enumerate(rows):
            for name, value in zip(names, row, strict=True):
                if isinstance(value, float) and not value.is_integer():
                    message = f"{name}: expected an integer as {where}.datatype says, got {describe_value(value)}"
                    raise RequestError(422, "not_an_integer", message, field=name, row=number)
    return rows


def _members(request: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    """The elements of a list in the request, each with where it stands."""
    values = request[key]
    if not isinstance(values, list) or not values:
        raise _unexpected(key, "a list that is not empty", values)
    return [(f"{key}[{place}]", value) for place, value in enumerate(values)]


def _check_members(value: Any, where: str, required: set[str], optional: set[str]) -> None:
    if not is_object(value):
        raise _unexpected(where or None, "an object", value)
    prefix = where and f"{where}."
    for key in sorted(required - value.keys()):
        raise RequestError(422, "missing_field", f"{prefix}{key} is missing", field=f"{prefix}{key}")
    for key in value.keys() - required - optional:
        name = f"{prefix}{key[:100]}"
        raise RequestError(422, "unknown_field", f"{name} is not known", field=name)
    parameters = value.get("parameters", {})
    if not is_object(parameters) or not all(isinstance(entry, str | int | float) for entry in parameters.values()):
        raise _unexpected(f"{prefix}parameters", "an object of texts, numbers and booleans", parameters)


def _unexpected(where: str | None, expected: str, value: Any) -> RequestError:
    message = f"{where or 'the body'}: expected {expected}, got {describe_value(value)}"
    return RequestError(422, "unexpected_value", message, field=where)
