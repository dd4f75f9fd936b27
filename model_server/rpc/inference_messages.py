"""Messages of the open inference protocol over gRPC, translated from and into those of its JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from model_server.codecs.inference_protocol import ALL_BINARY, BINARY_SIZE, Content, InferenceRequest
from model_server.errors import RequestError
from model_server.rpc.open_inference_pb2 import InferParameter, ModelInferRequest, ModelInferResponse

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Field of a tensor's data by its datatype."""


def read_request(message: ModelInferRequest) -> InferenceRequest:
    """Return the request of a message, with all outputs in binary form.

    Raises:
        RequestError: the data of a tensor is missing or not UTF-8.
    """
    raw = list(message.raw_input_contents)
    if raw and len(raw) != len(message.inputs):
        lengths = f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs"
        raise RequestError(422, "bad_shape", f"expected one for each input, got {lengths}", field="raw_input_contents")
    inputs: list[Content] = []
    for index, tensor in enumerate(message.inputs):
        content: Content = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
        parameters = _parameters(tensor.parameters)
        if raw:
            parameters[BINARY_SIZE] = len(raw[index])
        else:
            content["data"] = _data(tensor, f"inputs[{index}]")
        inputs.append(content | {"parameters": parameters})
    content = {"inputs": inputs, "parameters": _parameters(message.parameters) | {ALL_BINARY: True}}
    if message.id:
        content["id"] = message.id
    if message.outputs:
        content["outputs"] = [{"name": output.name} for output in message.outputs]
    return InferenceRequest(content, b"".join(raw))


def write_response(content: Content, binary: bytes) -> ModelInferResponse:
    """Return the message of a response whose outputs are all in binary form."""
    message = ModelInferResponse(
        model_name=content["model_name"], model_version=content["model_version"], id=content.get("id", "")
    )
    for name, text in content.get("parameters", {}).items():
        message.parameters[name].string_param = text
    start = 0
    for output in content["outputs"]:
        message.outputs.add(name=output["name"], datatype=output["datatype"], shape=output["shape"])
        end = start + output["parameters"][BINARY_SIZE]
        message.raw_output_contents.append(binary[start:end])
        start = end
    return message


def _parameters(values: Mapping[str, InferParameter]) -> Content:
    found = {key: value.WhichOneof("parameter_choice") for key, value in values.items()}
    return {key: getattr(values[key], choice) for key, choice in found.items() if choice}


def _data(tensor: ModelInferRequest.InferInputTensor, path: str) -> list[Any]:
    field = CONTENTS.get(tensor.datatype)
    if field is None:
        message = f"{path}.datatype: {tensor.datatype[:100]!r} needs raw_input_contents; the others are "
        message += ", ".join(CONTENTS)
        raise RequestError(422, "unexpected_value", message, field=f"{path}.datatype")
    data = list(getattr(tensor.contents, field))
    if tensor.datatype != "BYTES":
        return data
    try:
        return [text.decode() for text in data]
    except UnicodeDecodeError:
        raise RequestError(422, "unexpected_value", f"{path}.contents: not UTF-8", field=f"{path}.contents") from None
