"""Tensors of the open inference protocol, version 2, in its JSON form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_server.codecs.json_decoder import describe_value, is_object
from model_server.codecs.row_reader import RowReader
from model_server.errors import RequestError
from model_server.model.model import FEATURES, OUTPUTS, Rows

FLOATS = ("FP32", "FP64")
INTEGERS = ("INT8", "INT16", "INT32", "INT64")


def check_request(request: Any) -> None:
    """Raise RequestError unless the request has the members of an inference request."""
    _check_members(request, "", required={"inputs"}, optional={"id", "parameters", "outputs"})
    if "id" in request and not isinstance(request["id"], str):
        raise _unexpected("id", "a text", request["id"])


def read_rows(request: dict[str, Any], reader: RowReader) -> Rows:
    """Return the rows [rows, features] of one tensor `features`, or of one tensor [rows] for each feature.

    Raises:
        RequestError: with the member, or the feature and row, of the error.
    """
    tensors: dict[str, tuple[str, Any]] = {}
    for path, tensor in _members(request, "inputs"):
        _check_members(tensor, path, required={"name", "shape", "datatype", "data"}, optional={"parameters"})
        name = tensor["name"]
        if not isinstance(name, str):
            raise _unexpected(f"{path}.name", "a text", name)
        if name in tensors:
            name = name[:100]
            raise RequestError(422, "duplicate_field", f"two inputs are named {name!r}", field=name)
        tensors[name] = path, tensor
    if list(tensors) == [FEATURES]:
        path, tensor = tensors[FEATURES]
        rows = _matrix(tensor, path, reader.names)
    else:
        columns = [_matrix(tensor, path, [tensor["name"]]) for path, tensor in reader.in_model_order(tensors)]
        if len({len(column) for column in columns}) > 1:
            raise RequestError(422, "bad_shape", "the inputs differ in their number of rows", field="inputs")
        rows = [[value for (value,) in cells] for cells in zip(*columns, strict=True)]
    reader.check_row_count(len(rows))
    return [reader.check_row(values, row) for row, values in enumerate(rows)]


def requested_outputs(request: dict[str, Any]) -> Sequence[str]:
    """Return the names of the requested outputs; all outputs if the request names none."""
    if "outputs" not in request:
        return OUTPUTS
    names = []
    for path, output in _members(request, "outputs"):
        _check_members(output, path, required={"name"}, optional={"parameters"})
        if output["name"] not in OUTPUTS:
            raise _unexpected(f"{path}.name", f"one of {', '.join(OUTPUTS)}", output["name"])
        names.append(output["name"])
    return names


def output_tensors(names: Sequence[str], classes: int, labels: list[int], probabilities: Rows) -> list[dict[str, Any]]:
    """Return the named outputs of predictions: `label` [rows] and `probabilities` [rows, classes], flattened."""
    shape = [len(labels), classes]
    flat = [probability for row in probabilities for probability in row]
    tensors = {
        "label": {"name": "label", "datatype": "INT64", "shape": shape[:1], "data": labels},
        "probabilities": {"name": "probabilities", "datatype": "FP32", "shape": shape, "data": flat},
    }
    return [tensors[name] for name in names]


def _matrix(tensor: dict[str, Any], path: str, names: Sequence[str]) -> list[list[Any]]:
    """Return a tensor's data as rows of one value for each name. The values may still be anything but fractions."""
    shape, datatype, data = tensor["shape"], tensor["datatype"], tensor["data"]
    columns = len(names)
    allowed = "[rows] or [rows, 1]" if columns == 1 else f"[rows, {columns}]"
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise _unexpected(f"{path}.shape", allowed, shape)
    if shape[1:] != [columns] and not (columns == len(shape) == 1):
        raise RequestError(422, "bad_shape", f"{path}.shape: expected {allowed}", field=f"{path}.shape")
    if datatype not in FLOATS + INTEGERS:
        raise _unexpected(f"{path}.datatype", f"one of {', '.join(FLOATS + INTEGERS)}", datatype)
    if not isinstance(data, list):
        raise _unexpected(f"{path}.data", "a list", data)
    if data and isinstance(data[0], list):
        rows = data
    else:
        rows = [data[start : start + columns] for start in range(0, len(data), columns)]
    if len(rows) != shape[0] or not all(isinstance(row, list) and len(row) == columns for row in rows):
        message = f"{path}.data does not have the number of values that its shape says"
        raise RequestError(422, "bad_shape", message, field=f"{path}.data")
    if datatype in INTEGERS:
        _check_integers(rows, path, names)
    return rows


def _check_integers(rows: list[list[Any]], path: str, names: Sequence[str]) -> None:
    for number, row in enumerate(rows):
        for name, value in zip(names, row, strict=True):
            if isinstance(value, float) and not value.is_integer():
                message = f"{name}: expected an integer as {path}.datatype says, got {describe_value(value)}"
                raise RequestError(422, "not_an_integer", message, field=name, row=number)


def _members(request: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    """Return the elements of a list in the request, each with its path."""
    values = request[key]
    if not isinstance(values, list) or not values:
        raise _unexpected(key, "a list that is not empty", values)
    return [(f"{key}[{index}]", value) for index, value in enumerate(values)]


def _check_members(value: Any, path: str, required: set[str], optional: set[str]) -> None:
    if not is_object(value):
        raise _unexpected(path or None, "an object", value)
    prefix = path and f"{path}."
    for key in sorted(required - value.keys()):
        raise RequestError(422, "missing_field", f"{prefix}{key} is missing", field=f"{prefix}{key}")
    for key in value.keys() - required - optional:
        name = f"{prefix}{key[:100]}"
        raise RequestError(422, "unknown_field", f"{name} is not known", field=name)
    parameters = value.get("parameters", {})
    if not is_object(parameters) or not all(isinstance(entry, str | int | float) for entry in parameters.values()):
        raise _unexpected(f"{prefix}parameters", "an object of texts, numbers and booleans", parameters)


def _unexpected(path: str | None, expected: str, value: Any) -> RequestError:
    message = f"{path or 'the body'}: expected {expected}, got {describe_value(value)}"
    return RequestError(422, "unexpected_value", message, field=path)
