"""A model that detects anomalies, as its clients see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from model_server.errors import ModelRefused
from model_server.model.model import Model
from model_server.model.model_package import ModelPackage, verify_package
from tests.server.running import Server, running, wait_until

FEATURE = {"type": "number", "minimum": -1.0, "maximum": 1.0, "mean": 0.0}
SIGNATURE: dict[str, Any] = {
    "format": 2,
    "model": "pumps",
    "task": "anomaly",
    "target": "broken",
    "classes": ["normal", "anomaly"],
    "features": [{"name": "heat", **FEATURE}, {"name": "noise", **FEATURE}],
}
NORMAL, BROKEN = {"heat": 0.25, "noise": 0.5}, {"heat": 0.75, "noise": 0.5}


def distance_onnx(kind: int = TensorProto.BOOL) -> bytes:
    """Return a model whose score is the sum of two features minus 1."""
    nodes = [
        helper.make_node("ReduceSum", ["features", "axis"], ["sum"], keepdims=0),
        helper.make_node("Sub", ["sum", "one"], ["score"]),
        helper.make_node("Greater", ["score", "zero"], ["above"]),
        helper.make_node("Cast", ["above"], ["anomaly"], to=kind),
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 2])]
    outputs = [
        helper.make_tensor_value_info("anomaly", kind, [None]),
        helper.make_tensor_value_info("score", TensorProto.FLOAT, [None]),
    ]
    graph = helper.make_graph(nodes, "distance", inputs, outputs, constants)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    return content


def package(onnx: bytes, **changes: Any) -> ModelPackage:
    signature = SIGNATURE | {"sha256": hashlib.sha256(onnx).hexdigest()} | changes
    return verify_package(onnx, json.dumps(signature).encode(), "3", {})


@pytest.fixture(scope="module")
def pumps(folder: Path) -> Iterator[Server]:
    onnx, model = distance_onnx(), folder / "pumps"
    model.mkdir()
    (model / "model.onnx").write_bytes(onnx)
    (model / "signature.json").write_text(json.dumps(SIGNATURE | {"sha256": hashlib.sha256(onnx).hexdigest()}))
    with running(folder / "pumps.log", DIRECTORY=model, VERSION="3") as server:
        yield server


def test_score_returns_decision_and_score(pumps: Server) -> None:
    identity = {"model_name": "pumps", "model_version": "3"}
    normal, broken = {"anomaly": False, "score": -0.25}, {"anomaly": True, "score": 0.25}
    assert pumps.score(BROKEN).json() == broken | identity
    assert pumps.score([NORMAL, BROKEN]).json() == {"predictions": [normal, broken]} | identity
    csv = pumps.post(b"noise,heat\n0.5,0.25\n0.5,0.75\n", content_type="text/csv")
    assert csv.json()["predictions"] == [normal, broken]
    records = pumps.post(json.dumps({"dataframe_records": [BROKEN]}).encode(), "/invocations")
    assert records.json() == {"predictions": [broken]}


def test_inference_protocol_has_a_boolean_and_a_number(pumps: Server) -> None:
    metadata = pumps.get("/v2/models/pumps").json()
    assert metadata["outputs"] == [
        {"name": "anomaly", "datatype": "BOOL", "shape": [-1]},
        {"name": "score", "datatype": "FP32", "shape": [-1]},
    ]
    tensor = {"name": "features", "shape": [2, 2], "datatype": "FP32", "data": [0.25, 0.5, 0.75, 0.5]}
    outputs = pumps.post(json.dumps({"inputs": [tensor]}).encode(), "/v2/models/pumps/infer").json()["outputs"]
    assert [output["data"] for output in outputs] == [[False, True], [-0.25, 0.25]]


def test_page_and_metrics_name_anomalies(pumps: Server) -> None:
    pumps.score(BROKEN)
    assert 'data-task="anomaly"' in pumps.get("/").text
    members = pumps.get("/openapi.json").json()["components"]["schemas"]["Prediction"]["properties"]
    assert set(members) == {"anomaly", "score", "model_name", "model_version"}
    wait_until(lambda: 'class="anomaly"' in pumps.get("/metrics").text, "no anomaly is counted")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": []}, "an anomaly detection needs format 2 and two classes"),
        ({"targets": ["broken", "hot"]}, "targets may be several in a regression alone"),
        ({"task": "clustering"}, "task: Input should be"),
    ],
)
def test_signature_of_an_impossible_anomaly_detection_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelRefused, match=message):
        package(distance_onnx(), **changes)


def test_model_with_decisions_that_are_no_booleans_is_refused() -> None:
    with pytest.raises(ModelRefused, match="not 1 of bool and 1 of float32"):
        Model(None, package(distance_onnx(TensorProto.INT64)))
