"""Requests for one row of numbers in the open inference protocol, as most clients send them, in a short way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from model_server.codecs.row_reader import RowReader
from model_server.codecs.tensors import FLOATS
from model_server.errors import RequestError
from model_server.model.model import FEATURES, RowOutputs
from model_server.model.prediction_task import OutputTensor

TEXTS = len(("inputs", "name", FEATURES, "shape", "datatype", FLOATS, "data"))
"""Number of texts in a request: all keys, the name of its tensor, and the datatype."""


class PlainInference:
    """Codec of requests with one row in a tensor `features` of floats, and with no other member than `id`.

    Args:
        reader: the reader of the model's rows.
        identity: the first members of each response.
        outputs: the model's outputs. Responses have all of them.
    """

    def __init__(self, reader: RowReader, identity: Mapping[str, Any], outputs: Sequence[OutputTensor]) -> None:
        # A tensor of the only column is a column: its value is not encoded yet.
        self._check = reader.check_row if reader.names == [FEATURES] else reader.check_encoded
        self._shape = [1, len(reader.names)]
        self._identity = orjson.dumps(identity)[:-1]
        tensors = []
        for output in outputs:
            head = {"name": output.name, "datatype": output.datatype, "shape": [1, *output.shape[1:]]}
            data = b"[%b]" if len(output.shape) == 1 else b"%b"  # the value of a tensor [1] is no list
            tensors.append(orjson.dumps(head)[:-1] + b',"data":' + data + b"}")
        self._outputs = b',"outputs":[' + b",".join(tensors) + b"]}"

    def decode(self, body: bytes) -> tuple[list[float], str | None] | None:
        """Return the row and the id of a request; None if `InferenceRequest` has to decide."""
        try:
            request = orjson.loads(body)
            (tensor,) = request["inputs"]
            name, datatype, shape, row = tensor["name"], tensor["datatype"], tensor["shape"], tensor["data"]
            request_id = request.get("id")
            is_one = shape == self._shape and type(shape[0]) is type(shape[1]) is int
            if not is_one or name != FEATURES or datatype not in FLOATS:
                return None
            if type(row[0]) is list:
                (row,) = row
            row = self._check(row, None)
        except (ValueError, LookupError, TypeError, AttributeError, RequestError):
            return None
        members, texts = (1, TEXTS) if request_id is None else (2, TEXTS + len(("id", request_id)))
        # orjson accepts duplicate keys. With exactly two quotes for each text, no key occurs twice.
        is_plain = len(request) == members and len(tensor) == 4 and body.count(b'"') == 2 * texts
        return (row, request_id) if is_plain and isinstance(request_id, str | None) else None

    def encode(self, outputs: RowOutputs, request_id: str | None) -> bytes:
        """Return the response with the outputs for a row."""
        members = b"" if request_id is None else b',"id":' + orjson.dumps(request_id)
        return self._identity + members + self._outputs % tuple(map(orjson.dumps, outputs))
