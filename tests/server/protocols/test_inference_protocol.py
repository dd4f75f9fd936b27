"""The open inference protocol, version 2."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from tests.server.protocols.test_bad_input import cases, check
from tests.server.running import Server
from tests.server.training import IRIS, Trained

INFER = "/v2/models/iris/infer"
VIRGINICA = [6.3, 3.3, 6.0, 2.5]


def tensor(data: Any, shape: list[int], datatype: str = "FP32", name: str = "features") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def infer(server: Server, *inputs: Any, path: str = INFER, **members: Any) -> Any:
    return server.post(json.dumps({"inputs": list(inputs)} | members).encode(), path)


def columns(rows: list[list[float]], datatype: str = "FP64") -> list[dict[str, Any]]:
    """Return a tensor for each feature, last feature first."""
    named = zip(IRIS, zip(*rows, strict=True), strict=True)
    return [tensor(list(values), [len(rows)], datatype, name) for name, values in named][::-1]


def test_server_metadata_and_health_return_protocol_members(server: Server) -> None:
    assert server.get("/v2").json() == {
        "name": "model_server",
        "version": "1.0.0",
        "extensions": ["binary_tensor_data"],
    }
    assert server.get("/v2/health/live").json() == {"live": True}
    ready = {"ready": True, "model_name": "iris", "model_version": "7", "problem": None}
    assert server.get("/v2/health/ready").json() == ready


@pytest.mark.parametrize("path", ["/v2/models/iris", "/v2/models/iris/versions/7"])
def test_model_metadata_served_model_returns_tensors_and_signature(server: Server, iris: Trained, path: str) -> None:
    content = server.get(path).json()
    parameters = content.pop("parameters")
    assert content == {
        "name": "iris",
        "versions": ["7"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert [feature["name"] for feature in parameters["features"]] == list(IRIS)
    assert (parameters["sha256"], parameters["target"]) == (iris.sha256, "species")
    assert server.get(f"{path}/ready").json() == {"name": "iris", "ready": True}


@pytest.mark.parametrize("path", [INFER, "/v2/models/iris/versions/7/infer"])
@pytest.mark.parametrize("form", ["flat", "nested", "columns"])
def test_infer_all_flowers_returns_predictions_of_forest(server: Server, iris: Trained, path: str, form: str) -> None:
    rows = iris.data.tolist()
    data = rows if form == "nested" else iris.data.ravel().tolist()
    inputs = columns(rows) if form == "columns" else [tensor(data, [150, 4])]
    label, probabilities = infer(server, *inputs, path=path).json()["outputs"]
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "INT64", [150])
    assert label["data"] == iris.forest.predict(iris.data).tolist()
    named = (probabilities["name"], probabilities["datatype"], probabilities["shape"])
    assert named == ("probabilities", "FP32", [150, 3])
    expected = iris.forest.predict_proba(iris.data).ravel()
    assert np.allclose(probabilities["data"], expected, atol=1e-5)


def test_infer_id_and_outputs_returns_id_and_only_these_outputs(server: Server) -> None:
    parameters = {"note": "a", "priority": 1, "traced": True}
    response = infer(
        server,
        tensor(VIRGINICA, [1, 4]) | {"parameters": parameters},
        id="42",
        outputs=[{"name": "label", "parameters": parameters}],
        parameters=parameters,
    )
    assert response.json() == {
        "model_name": "iris",
        "model_version": "7",
        "id": "42",
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [2]}],
    }


def test_infer_integer_tensor_returns_prediction(server: Server) -> None:
    outputs = infer(server, tensor([6, 3, 6, 2], [1, 4], "INT32")).json()["outputs"]
    assert outputs[0]["data"] == [2]


ONE = tensor(VIRGINICA, [1, 4])
BAD: list[tuple[str, Any, str, str | None, int | None]] = [
    ("a list", [], "unexpected_value", None, None),
    ("no inputs", {}, "missing_field", "inputs", None),
    ("empty inputs", {"inputs": []}, "unexpected_value", "inputs", None),
    ("inputs an object", {"inputs": {}}, "unexpected_value", "inputs", None),
    ("an input a text", {"inputs": ["features"]}, "unexpected_value", "inputs[0]", None),
    ("unknown member", {"inputs": [ONE], "input": []}, "unknown_field", "input", None),
    ("id a number", {"inputs": [ONE], "id": 1}, "unexpected_value", "id", None),
    ("parameters a list", {"inputs": [ONE], "parameters": []}, "unexpected_value", "parameters", None),
    ("nested parameter", {"inputs": [ONE], "parameters": {"a": {}}}, "unexpected_value", "parameters", None),
    ("no data", {"inputs": [{k: ONE[k] for k in ONE if k != "data"}]}, "missing_field", "inputs[0].data", None),
    ("name a list", {"inputs": [ONE | {"name": []}]}, "unexpected_value", "inputs[0].name", None),
    ("unknown datatype", {"inputs": [ONE | {"datatype": "TEXT"}]}, "unexpected_value", "inputs[0].datatype", None),
    ("numbers as texts", {"inputs": [ONE | {"datatype": "BYTES"}]}, "not_a_text", "sepal_length", 0),
    ("shape a text", {"inputs": [ONE | {"shape": "1,4"}]}, "unexpected_value", "inputs[0].shape", None),
    ("shape of booleans", {"inputs": [ONE | {"shape": [True, 4]}]}, "unexpected_value", "inputs[0].shape", None),
    ("other columns", {"inputs": [ONE | {"shape": [1, 3]}]}, "bad_shape", "inputs[0].shape", None),
    ("more rows than data", {"inputs": [ONE | {"shape": [2, 4]}]}, "bad_shape", "inputs[0].data", None),
    ("negative rows", {"inputs": [ONE | {"shape": [-1, 4]}]}, "bad_shape", "inputs[0].data", None),
    ("ragged rows", {"inputs": [tensor([[1, 2, 3, 4], [1]], [2, 4])]}, "bad_shape", "inputs[0].data", None),
    ("data a number", {"inputs": [ONE | {"data": 1}]}, "unexpected_value", "inputs[0].data", None),
    ("no rows", {"inputs": [tensor([], [0, 4])]}, "no_rows", None, None),
    ("one feature alone", {"inputs": columns([VIRGINICA])[:1]}, "missing_field", "sepal_length", None),
    ("unknown tensor", {"inputs": [*columns([VIRGINICA]), ONE | {"name": "a"}]}, "unknown_field", "a", None),
    ("tensor named twice", {"inputs": [ONE, ONE]}, "duplicate_field", "features", None),
    ("text in data", {"inputs": [tensor([*VIRGINICA[:3], "2"], [1, 4])]}, "not_a_number", "petal_width", 0),
    ("deep data", {"inputs": [tensor([[[1], 1, 1, 1]], [1, 4])]}, "not_a_number", "sepal_length", 0),
    ("fraction in INT64", {"inputs": [tensor(VIRGINICA, [1, 4], "INT64")]}, "not_an_integer", "sepal_length", 0),
    ("out of range", {"inputs": [tensor([*VIRGINICA, 1e9, 1, 1, 1], [2, 4])]}, "out_of_range", "sepal_length", 1),
    ("unknown output", {"inputs": [ONE], "outputs": [{"name": "a"}]}, "unexpected_value", "outputs[0].name", None),
    ("empty outputs", {"inputs": [ONE], "outputs": []}, "unexpected_value", "outputs", None),
]


@pytest.mark.parametrize(("content", "code", "field", "row"), cases(BAD))
def test_infer_bad_request_returns_422_with_field_and_row(
    server: Server, content: Any, code: str, field: str | None, row: int | None
) -> None:
    check(server.post(json.dumps(content).encode(), INFER), 422, code, field, row)


def test_infer_columns_of_different_lengths_returns_422(server: Server) -> None:
    inputs = columns([VIRGINICA])
    inputs[0] = tensor([1, 1], [2], name=inputs[0]["name"])
    check(infer(server, *inputs), 422, "bad_shape", "inputs")


@pytest.mark.parametrize("suffix", ["", "/ready", "/infer"])
def test_model_paths_other_model_or_version_returns_404(server: Server, suffix: str) -> None:
    for path, code in (("/v2/models/rose", "unknown_model"), ("/v2/models/iris/versions/8", "unknown_version")):
        response = server.post(b"{}", path + suffix) if suffix == "/infer" else server.get(path + suffix)
        check(response, 404, code)
