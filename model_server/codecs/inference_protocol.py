"""Requests and responses of the open inference protocol, version 2, with tensors in JSON or binary form.

A message with binary tensors is a JSON object, followed by the data of these tensors in the object's order.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from model_server.codecs.base_column import InputColumn
from model_server.codecs.input_columns import NumberInput
from model_server.codecs.json_decoder import decode_json, describe_value, is_object
from model_server.codecs.row_reader import RowReader
from model_server.codecs.tensors import BINARY_TYPES, DATATYPES, Tensor, read_json_tensor, take_binary_tensor
from model_server.errors import RequestError
from model_server.model.contributions import KEY
from model_server.model.model import FEATURES, Rows
from model_server.model.prediction_task import OutputTensor

BINARY_SIZE, BINARY, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
"""Parameters of a tensor, of a requested output, and of a request."""
BINARY_TENSOR = frozenset({"name", "shape", "datatype"})
JSON_TENSOR = BINARY_TENSOR | {"data"}
PARAMETERS = frozenset({"parameters"})
Content = dict[str, Any]


@dataclass(frozen=True)
class InferenceRequest:
    """A decoded request; `binary` is the data of its binary tensors."""

    content: Content
    binary: bytes

    @classmethod
    def decode(cls, body: bytes, json_length: int | None) -> InferenceRequest:
        """Return the request in a body whose JSON object has `json_length` bytes; None if all of it is JSON.

        Raises:
            RequestError: the body is no inference request.
        """
        if json_length is not None and json_length > len(body):
            raise RequestError(400, "incomplete_body", f"the JSON of {json_length} bytes exceeds the body")
        content = decode_json(body[:json_length])
        check_members(content, "", required={"inputs"}, optional={"id", "parameters", "outputs"})
        if "id" in content and not isinstance(content["id"], str):
            raise unexpected_member("id", "a text", content["id"])
        return cls(content, b"" if json_length is None else body[json_length:])

    def rows(self, reader: RowReader) -> Rows:
        """Return the encoded rows [rows, features] of one tensor `features`, or of one tensor [rows] for each column.

        The tensor `features` has encoded values.

        Raises:
            RequestError: with the member, or the column and row, of the error.
        """
        tensors = self._tensors()
        if list(tensors) == [FEATURES] and reader.names != [FEATURES]:
            rows = tensors[FEATURES].rows(reader.names)
            reader.check_row_count(len(rows))
            return [reader.check_encoded(values, row) for row, values in enumerate(rows)]
        ordered = reader.in_model_order(tensors)
        columns = [tensor and tensor.column() for tensor in ordered]
        lengths = {len(column) for column in columns if column is not None}
        if len(lengths) > 1:
            raise RequestError(422, "bad_shape", "the inputs differ in their number of rows", field="inputs")
        (count,) = lengths
        reader.check_row_count(count)
        cells = zip(*(column or [None] * count for column in columns), strict=True)
        return [reader.check_row(values, row) for row, values in enumerate(cells)]

    def outputs(self, names: Sequence[str]) -> dict[str, bool]:
        """Return those of the model's outputs that are requested, by default all; True stands for binary data.

        The parameter `contributions` requests that output as well.
        """
        parameters = self.content.get("parameters", {})
        all_binary = parameters.get(ALL_BINARY) is True
        explain = parameters.get(KEY)
        if not isinstance(explain, bool | None):
            raise unexpected_member(f"parameters.{KEY}", "true or false", explain)
        if explain:
            names = [*names, KEY]
        if "outputs" not in self.content:
            return dict.fromkeys(names, all_binary)
        outputs = {}
        for path, output in _members(self.content, "outputs"):
            check_members(output, path, required={"name"}, optional=PARAMETERS)
            if output["name"] not in names:
                raise unexpected_member(f"{path}.name", f"one of {', '.join(names)}", output["name"])
            outputs[output["name"]] = output.get("parameters", {}).get(BINARY, all_binary) is True
        return outputs | ({KEY: outputs.get(KEY, all_binary)} if explain else {})

    def _tensors(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {}
        remaining = self.binary
        for path, member in _members(self.content, "inputs"):
            size = _binary_size(member)
            check_members(member, path, required=JSON_TENSOR if size is None else BINARY_TENSOR, optional=PARAMETERS)
            name, datatype, shape = member["name"], member["datatype"], member["shape"]
            if not isinstance(name, str):
                raise unexpected_member(f"{path}.name", "a text", name)
            if name in tensors:
                name = name[:100]
                raise RequestError(422, "duplicate_field", f"two inputs are named {name!r}", field=name)
            if not isinstance(shape, list) or not all(type(length) is int for length in shape):
                raise unexpected_member(f"{path}.shape", "a list of integers", shape)
            if datatype not in DATATYPES:
                raise unexpected_member(f"{path}.datatype", f"one of {', '.join(DATATYPES)}", datatype)
            if size is None:
                tensors[name] = read_json_tensor(name, path, datatype, shape, member["data"])
            else:
                tensors[name], remaining = take_binary_tensor(name, path, datatype, shape, size, remaining)
        if remaining:
            raise RequestError(422, "bad_shape", f"{len(remaining)} bytes follow the data of the last input")
        return tensors


def input_tensors(columns: Sequence[InputColumn]) -> list[Content]:
    """Return the description of the inputs: one tensor `features` if all columns are numbers, else one for each."""
    if all(type(column) is NumberInput for column in columns):
        return [{"name": FEATURES, "datatype": "FP32", "shape": [-1, len(columns)]}]
    return [{"name": column.name, "datatype": column.datatype, "shape": [-1]} for column in columns]


def encode_outputs(
    requested: dict[str, bool], outputs: Sequence[OutputTensor], values: Sequence[NDArray[Any]]
) -> tuple[list[Content], bytes]:
    """Return the requested outputs as tensors, and the data of the binary ones.

    Args:
        requested: names of the outputs; True stands for binary data.
        outputs: the model's outputs.
        values: the values [rows, ...] of each of these outputs.
    """
    described = {output.name: (output, data) for output, data in zip(outputs, values, strict=True)}
    tensors, binary = [], b""
    for name, is_binary in requested.items():
        output, data = described[name]
        shape = [len(values[0]), *output.shape[1:]]
        tensor: Content = {"name": name, "datatype": output.datatype, "shape": shape}
        if is_binary:
            content = data.astype(BINARY_TYPES[output.datatype]).tobytes()
            binary += content
            tensor["parameters"] = {BINARY_SIZE: len(content)}
        else:
            tensor["data"] = data.ravel().tolist()
        tensors.append(tensor)
    return tensors, binary


def check_members(value: Any, path: str, required: Set[str], optional: Set[str]) -> None:
    """Remove optional members that are null; raise RequestError unless `value` is an object of these members."""
    if not is_object(value):
        raise unexpected_member(path or None, "an object", value)
    for key in optional:
        if key in value and value[key] is None:
            del value[key]
    prefix = path and f"{path}."
    for key in sorted(required - value.keys()):
        raise RequestError(422, "missing_field", f"{prefix}{key} is missing", field=f"{prefix}{key}")
    for key in value.keys() - (required | optional):
        name = f"{prefix}{key[:100]}"
        raise RequestError(422, "unknown_field", f"{name} is not known", field=name)
    parameters = value.get("parameters", {})
    types = str | int | float | None
    if not is_object(parameters) or not all(isinstance(entry, types) for entry in parameters.values()):
        raise unexpected_member(f"{prefix}parameters", "an object of texts, numbers and booleans", parameters)


def _binary_size(tensor: Any) -> Any:
    """Return the size of a tensor's binary data; None if its data is in JSON."""
    parameters = tensor.get("parameters") if type(tensor) is dict else None
    return parameters.get(BINARY_SIZE) if type(parameters) is dict else None


def _members(request: Content, key: str) -> list[tuple[str, Any]]:
    """Return the elements of a list in the request, each with its path."""
    values = request[key]
    if not isinstance(values, list) or not values:
        raise unexpected_member(key, "a list that is not empty", values)
    return [(f"{key}[{index}]", value) for index, value in enumerate(values)]


def unexpected_member(path: str | None, expected: str, value: Any) -> RequestError:
    """Return the error of a member with another type or value than expected; the path None is the body."""
    message = f"{path or 'the body'}: expected {expected}, got {describe_value(value)}"
    return RequestError(422, "unexpected_value", message, field=path)
