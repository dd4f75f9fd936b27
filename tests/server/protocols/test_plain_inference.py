"""Requests of the open inference protocol for one row, whose fast codec agrees with the general one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.codecs.inference_protocol import InferenceRequest, encode_outputs
from model_server.codecs.plain_inference import PlainInference
from model_server.codecs.row_reader import RowReader
from model_server.http.responses import encode_json
from model_server.model.model import Model
from model_server.model.model_package import read_package
from tests.server.models.test_anomaly_answers import distance_onnx, package
from tests.server.protocols.test_inference_protocol import VIRGINICA, infer, tensor
from tests.server.running import Server
from tests.server.training import Trained
from tests.server.typed_models import ENCODED, train_class, train_price

TENSOR = {"name": '"features"', "shape": "[1, 4]", "datatype": '"FP32"', "data": "[6.3, 3.3, 6.0, 2.5]"}
PLAIN = [
    TENSOR,
    TENSOR | {"datatype": '"FP64"', "data": "[[6, 3.3, 6e0, 2.5]]"},
    dict(reversed(TENSOR.items())),
]
OTHER = [
    TENSOR | {"name": '"petal_width"'},
    TENSOR | {"name": '"feature\\u0073"'},
    TENSOR | {"name": "[]"},
    TENSOR | {"shape": "[true, 4]"},
    TENSOR | {"shape": "[1.0, 4]"},
    TENSOR | {"shape": "[4]"},
    TENSOR | {"shape": "[2, 4]", "data": "[6.3, 3.3, 6.0, 2.5, 6.3, 3.3, 6.0, 2.5]"},
    TENSOR | {"shape": "null"},
    TENSOR | {"datatype": '"INT32"', "data": "[6, 3, 6, 2]"},
    TENSOR | {"datatype": '"BYTES"'},
    TENSOR | {"datatype": "{}"},
    TENSOR | {"data": "[6.3, 3.3, 6.0]"},
    TENSOR | {"data": "[6.3, 3.3, 6.0, 1e9]"},
    TENSOR | {"data": "[6.3, 3.3, 6.0, null]"},
    TENSOR | {"data": "[6.3, 3.3, 6.0, true]"},
    TENSOR | {"data": '[6.3, 3.3, 6.0, "2.5"]'},
    TENSOR | {"data": "[[6.3], 3.3, 6.0, 2.5]"},
    TENSOR | {"data": "[[6.3, 3.3, 6.0, 2.5], [6.3, 3.3, 6.0, 2.5]]"},
    TENSOR | {"data": "[]"},
    TENSOR | {"data": "1"},
    TENSOR | {"data": '"6332"'},
    TENSOR | {"parameters": '{"content_type": "np"}'},
    TENSOR | {'"name': '"features"'},
    {},
]


@pytest.fixture(scope="module")
def reader(iris: Trained) -> RowReader:
    return RowReader(loaded(iris.folder).signature, 10)


def loaded(folder: Path) -> Model:
    return Model(None, read_package(folder, "7", {}))


def written(members: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in members.items()) + "}"


FIRST = ["", '"id": "7", ', '"id": "\\"", ', '"id": null, ', '"id": 7, ', '"inputs": [], ', '"outputs": [], ']
LAST = ["", " ", ', "id": "8"', ', "inputs": []', ', "parameters": {}', "}"]


@settings(deadline=None, derandomize=True, max_examples=300)
@given(
    st.lists(st.sampled_from(PLAIN * 5 + OTHER), min_size=1, max_size=2), st.sampled_from(FIRST), st.sampled_from(LAST)
)
def test_decode_any_body_agrees_with_general_decoder(
    reader: RowReader, tensors: list[dict[str, str]], first: str, last: str
) -> None:
    body = f'{{{first}"inputs": [{", ".join(map(written, tensors))}]{last}}}'.encode()
    decoded = PlainInference(reader, {}, []).decode(body)
    if decoded:
        request = InferenceRequest.decode(body, None)
        assert ([decoded[0]], decoded[1]) == (request.rows(reader), request.content.get("id"))


@pytest.mark.parametrize("members", PLAIN)
@pytest.mark.parametrize(("first", "last", "request_id"), [("", "", None), (FIRST[1], " ", "7"), ("", LAST[2], "8")])
def test_decode_plain_request_returns_row_and_id(
    reader: RowReader, members: dict[str, str], first: str, last: str, request_id: str | None
) -> None:
    body = f'{{{first}"inputs": [{written(members)}]{last}}}'.encode()
    decoded = PlainInference(reader, {}, []).decode(body)
    assert decoded
    assert decoded[1] == request_id


def test_infer_plain_request_equals_general_one(server: Server) -> None:
    plain, general = (infer(server, tensor(VIRGINICA, [1, 4]), id="7", **more) for more in ({}, {"parameters": {}}))
    assert plain.status_code == 200
    assert plain.content == general.content


@pytest.mark.parametrize(
    "body", ["", "[]", "1", '"inputs"', "{}", '{"inputs": 1}', '{"inputs": [1]}', '{"inputs": {"a": 1}}']
)
def test_decode_other_json_is_left_to_general_decoder(reader: RowReader, body: str) -> None:
    assert PlainInference(reader, {}, []).decode(body.encode()) is None


@pytest.mark.parametrize("kind", ["forest", "class", "prices", "anomaly"])
@pytest.mark.parametrize("request_id", [None, "", 'a"b'])
def test_encode_equals_general_response(kind: str, request_id: str | None, iris: Trained, tmp_path: Path) -> None:
    served, row = model_and_row(kind, iris, tmp_path)
    outputs, _ = served.predict([row])
    names = dict.fromkeys([each.name for each in served.task.outputs], False)
    tensors, _ = encode_outputs(names, served.task.outputs, outputs)
    members = {} if request_id is None else {"id": request_id}
    plain = PlainInference(RowReader(served.signature, 10), served.identity, served.task.outputs)
    encoded = plain.encode(served.predict_row(row)[0], request_id)
    assert encoded == encode_json(served.identity | members | {"outputs": tensors})


def model_and_row(kind: str, iris: Trained, folder: Path) -> tuple[Model, Sequence[float]]:
    match kind:
        case "forest":
            return loaded(iris.folder), VIRGINICA
        case "anomaly":
            return Model(None, package(distance_onnx())), [0.25, 0.5]
    return loaded(
        train_class(folder / "homes") if kind == "class" else train_price(folder / "homes", targets=2)
    ), ENCODED
