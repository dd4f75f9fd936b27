"""The open inference protocol as tritonclient uses it, and its binary form without that client."""

from __future__ import annotations

import gzip
import json
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from tests.server.conftest import MAX_BODY_BYTES
from tests.server.protocols.test_bad_input import check
from tests.server.protocols.test_inference_protocol import INFER, VIRGINICA
from tests.server.running import HOST, Server, running
from tests.server.training import IRIS, Trained

ROWS = np.array([VIRGINICA, [5.1, 3.5, 1.4, 0.2]], np.float32)
OCTETS = "application/octet-stream"


def post(server: Server, body: bytes, path: str = INFER, **headers: str) -> requests.Response:
    """POST with exactly these headers; underscores stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = requests.Request("POST", server.url + path, data=body, headers=named).prepare()
    with requests.Session() as session:
        return session.send(request, timeout=30)


def binary_request(data: bytes, size: int | None = None, **members: Any) -> tuple[bytes, str]:
    """Return a request with one binary tensor, and the length of its JSON."""
    tensor: dict[str, Any] = {"name": "features", "shape": [2, 4], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": len(data) if size is None else size}
    header = json.dumps({"inputs": [tensor | members.pop("tensor", {})]} | members).encode()
    return header + data, str(len(header))


@pytest.fixture
def client(server: Server) -> Iterator[Any]:
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(f"{HOST}:{server.port}")
    yield client
    client.close()


def test_tritonclient_health_metadata_and_index_agree(client: Any) -> None:
    assert (client.is_server_live(), client.is_server_ready(), client.is_model_ready("iris")) == (True, True, True)
    assert client.get_server_metadata()["name"] == "model_server"
    assert client.get_model_metadata("iris")["inputs"][0]["name"] == "features"
    assert client.get_model_repository_index() == [{"name": "iris", "version": "7", "state": "READY", "reason": ""}]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("outputs", [None, True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient_all_forms_return_predictions(
    client: Any, binary_input: bool, outputs: bool | None, compression: str | None
) -> None:
    import tritonclient.http as http

    tensor = http.InferInput("features", ROWS.shape, "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=binary_input)
    names = ("label", "probabilities")
    requested = None if outputs is None else [http.InferRequestedOutput(name, binary_data=outputs) for name in names]
    result = client.infer(
        "iris",
        [tensor],
        outputs=requested,
        request_id="4",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert result.as_numpy("label").tolist() == [2, 0]
    assert result.as_numpy("probabilities").shape == (2, 3)
    assert result.as_numpy("probabilities").dtype == np.float32
    assert result.get_response()["id"] == "4"


def test_infer_binary_tensor_and_outputs_equal_json(server: Server) -> None:
    body, length = binary_request(ROWS.tobytes(), parameters={"binary_data_output": True})
    response = post(server, body, Inference_Header_Content_Length=length, Content_Type=OCTETS)
    assert (response.status_code, response.headers["Content-Type"]) == (200, OCTETS)
    size = int(response.headers["Inference-Header-Content-Length"])
    header, data = json.loads(response.content[:size]), response.content[size:]
    assert [output["parameters"] for output in header["outputs"]] == [
        {"binary_data_size": 16},
        {"binary_data_size": 24},
    ]
    assert np.frombuffer(data[:16], np.int64).tolist() == [2, 0]
    tensor = {"name": "features", "shape": [2, 4], "datatype": "FP32", "data": ROWS.tolist()}
    expected = post(server, json.dumps({"inputs": [tensor]}).encode()).json()["outputs"][1]["data"]
    assert np.frombuffer(data[16:], np.float32).tolist() == expected


def test_infer_binary_columns_of_several_types_equals_matrix(server: Server) -> None:
    types = {"FP64": np.float64, "FP16": np.float16, "INT8": np.int8, "UINT32": np.uint32}
    columns = [np.array([6, 5], dtype) for dtype in types.values()]
    tensors = [
        {"name": name, "shape": [2], "datatype": datatype, "parameters": {"binary_data_size": column.nbytes}}
        for name, datatype, column in zip(IRIS, types, columns, strict=True)
    ]
    header = json.dumps({"inputs": tensors}).encode()
    body = header + b"".join(column.tobytes() for column in columns)
    response = post(server, body, Inference_Header_Content_Length=str(len(header)))
    rows = [[6] * 4, [5] * 4]
    matrix = {"inputs": [{"name": "features", "shape": [2, 4], "datatype": "FP32", "data": rows}]}
    assert response.json() == post(server, json.dumps(matrix).encode()).json()


@pytest.mark.parametrize(
    ("body", "length", "status", "code"),
    [
        (*binary_request(ROWS.tobytes()[:-4]), 422, "bad_shape"),
        (*binary_request(ROWS.tobytes(), size=28), 422, "bad_shape"),
        (*binary_request(ROWS.tobytes(), size=36), 422, "unexpected_value"),
        (*binary_request(ROWS.tobytes(), size=-4), 422, "unexpected_value"),
        (*binary_request(ROWS.tobytes(), size=30), 422, "unexpected_value"),
        (*binary_request(ROWS.tobytes() + b"\0"), 422, "unexpected_value"),
        (*binary_request(ROWS.tobytes() + ROWS.tobytes(), size=32), 422, "bad_shape"),
        (*binary_request(ROWS.tobytes(), tensor={"data": []}), 422, "unknown_field"),
        (*binary_request(ROWS.tobytes(), tensor={"datatype": "BYTES"}), 422, "unexpected_value"),
        (*binary_request((ROWS * np.float32("nan")).tobytes()), 422, "not_finite"),
        (b"{}", "3", 400, "incomplete_body"),
        (b"{}", "x", 400, "bad_header"),
        (b"{}", "0", 400, "empty_body"),
    ],
)
def test_infer_bad_binary_request_returns_error(
    server: Server, body: bytes, length: str, status: int, code: str
) -> None:
    response = post(server, body, Inference_Header_Content_Length=length)
    assert (response.status_code, response.json()["code"]) == (status, code), response.text


@pytest.mark.parametrize("path", ["/score", INFER])
def test_post_without_content_type_reads_json(server: Server, path: str) -> None:
    row = dict(zip(IRIS, VIRGINICA, strict=True))
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": VIRGINICA}
    content = row if path == "/score" else {"inputs": [tensor]}
    for headers in ({}, {"Content_Type": ""}):
        assert post(server, json.dumps(content).encode(), path, **headers).status_code == 200


def test_infer_null_optional_members_are_ignored(server: Server) -> None:
    tensor = {"name": "features", "shape": [1, 4], "datatype": "FP32", "data": VIRGINICA, "parameters": None}
    content = {"id": None, "parameters": None, "inputs": [tensor], "outputs": None}
    response = post(server, json.dumps(content).encode())
    assert (response.status_code, "id" in response.json(), len(response.json()["outputs"])) == (200, False, 2)
    outputs = [{"name": "label", "parameters": {"binary_data": None}}]
    assert len(post(server, json.dumps(content | {"outputs": outputs}).encode()).json()["outputs"]) == 1


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_score_compressed_body_returns_predictions(server: Server, iris: Trained, encoding: str, compress: Any) -> None:
    rows = json.dumps(iris.rows()).encode()
    headers = {"Content_Type": "application/json", "Content_Encoding": encoding}
    assert post(server, compress(rows), "/score", **headers).json() == server.score(iris.rows()).json()
    bomb = compress(b" " * (MAX_BODY_BYTES + 1))
    check(post(server, bomb, "/score", **headers), 413, "body_too_large")
    check(post(server, compress(rows)[:-1], "/score", **headers), 400, "bad_content_encoding")
    check(post(server, rows, "/score", **headers), 400, "bad_content_encoding")
    headers["Content_Encoding"] = "br"
    check(post(server, rows, "/score", **headers), 415, "unsupported_content_encoding")


def test_infer_large_response_is_compressed_if_accepted(server: Server, iris: Trained) -> None:
    tensor = {"name": "features", "shape": [150, 4], "datatype": "FP32", "data": iris.data.ravel().tolist()}
    body = json.dumps({"inputs": [tensor]}).encode()
    compressed, plain = post(server, body, Accept_Encoding="gzip"), post(server, body, Accept_Encoding="identity")
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert compressed.json() == plain.json()


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 200), (b'{"ready": true}', 200), (b'{"ready": null}', 200), (b"[]", 422), (b"{", 400)]
)
def test_repository_index_any_request_returns_models_or_error(server: Server, body: bytes, status: int) -> None:
    response = post(server, body, "/v2/repository/index")
    assert response.status_code == status
    if status == 200:
        assert response.json() == [{"name": "iris", "version": "7", "state": "READY", "reason": ""}]


def test_repository_index_without_model_is_empty(empty: Server) -> None:
    assert post(empty, b"", "/v2/repository/index").json() == []


@pytest.fixture(scope="module", params=[{"maximum": 1.0}, {"maximum": 0.0, "type": "boolean"}], ids=["0-1", "type"])
def binary_feature(request: pytest.FixtureRequest, iris: Trained, folder: Path) -> Iterator[Server]:
    """Start a server of a model whose petal_width was 0 or 1, or boolean, in training."""
    model = shutil.copytree(iris.folder, folder / f"boolean-{request.param['maximum']}")
    signature = json.loads((model / "signature.json").read_text())
    signature["features"][3] |= {"minimum": 0.0, "mean": 0.0} | request.param
    (model / "signature.json").write_text(json.dumps(signature))
    with running(folder / "boolean.log", DIRECTORY=model, VERSION="7", WORKERS=1) as server:
        yield server


def test_score_booleans_equal_zero_and_one(binary_feature: Server) -> None:
    row = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 1}
    expected = binary_feature.score([row, row | {"petal_width": 0}]).json()
    rows = [row | {"petal_width": True}, row | {"petal_width": False}]
    assert binary_feature.score(rows).json() == expected
    assert binary_feature.score(rows[0]).json()["probabilities"] == expected["predictions"][0]["probabilities"]
    lines = ["sepal_length,sepal_width,petal_length,petal_width", "5.1,3.5,1.4,True", "5.1,3.5,1.4,false"]
    assert binary_feature.post("\n".join(lines).encode(), content_type="text/csv").json() == expected
    check(binary_feature.score(row | {"sepal_width": True}), 422, "not_a_number", "sepal_width")


def test_infer_bool_tensor_equals_zero_and_one(binary_feature: Server) -> None:
    columns = [("sepal_length", "FP32", [5.1]), ("sepal_width", "FP32", [3.5]), ("petal_length", "FP32", [1.4])]

    def infer(datatype: str, data: list[Any]) -> requests.Response:
        tensors = [
            {"name": name, "shape": [1], "datatype": kind, "data": values}
            for name, kind, values in (*columns, ("petal_width", datatype, data))
        ]
        return post(binary_feature, json.dumps({"inputs": tensors}).encode())

    assert infer("BOOL", [True]).json() == infer("FP32", [1]).json()
    check(infer("BOOL", [1]), 422, "not_a_boolean", "petal_width", 0)
