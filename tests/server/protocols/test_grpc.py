"""The open inference protocol over gRPC as tritonclient uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from infra.local.free_ports import free_port
from tests.server.protocols.test_typed_tensors import HOMES, home_tensors
from tests.server.running import HOST, Server, running, wait_until

grpc = pytest.importorskip("tritonclient.grpc")


@pytest.fixture(scope="module")
def served(folder: Path, homes_model: Path) -> Iterator[tuple[Server, Any]]:
    """Start a server with gRPC and two workers, and return a client of it."""
    port = free_port()
    settings = {"DIRECTORY": homes_model, "VERSION": "7", "MAX_ROWS": 100, "MAX_BODY_BYTES": 100_000}
    with (
        running(folder / "grpc.log", GRPC_PORT=port, WORKERS=2, **settings) as server,
        grpc.InferenceServerClient(f"{HOST}:{port}") as client,
    ):
        yield server, client


def test_grpc_health_and_metadata_equal_http(served: tuple[Server, Any]) -> None:
    server, client = served
    assert (client.is_server_live(), client.is_server_ready(), client.is_model_ready("homes")) == (True, True, True)
    about = client.get_server_metadata(as_json=True)
    assert about == server.get("/v2").json()
    metadata = client.get_model_metadata("homes", "7")
    expected = server.get("/v2/models/homes").json()
    for tensors, named in ((metadata.inputs, expected["inputs"]), (metadata.outputs, expected["outputs"])):
        assert [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors] == named


@pytest.mark.parametrize("outputs", [None, ["label"]])
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_grpc_infer_equals_score(
    served: tuple[Server, Any], outputs: list[str] | None, compression: str | None
) -> None:
    server, client = served
    inputs = server.get("/v2/models/homes").json()["inputs"]
    result = client.infer(
        "homes",
        home_tensors(grpc, inputs),
        model_version="7",
        request_id="4",
        outputs=outputs and [grpc.InferRequestedOutput(name) for name in outputs],
        compression_algorithm=compression,
    )
    expected = server.score(HOMES).json()["predictions"]
    assert result.as_numpy("label").tolist() == [each["class_index"] for each in expected]
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("4", "homes", "7")
    if outputs:
        assert result.as_numpy("probabilities") is None
    else:
        rows = [list(each["probabilities"].values()) for each in expected]
        assert np.allclose(result.as_numpy("probabilities"), rows, atol=1e-6)


def test_grpc_infer_with_contributions_adds_them_as_an_output(prices: Server, prices_grpc: int) -> None:
    inputs = prices.get("/v2/models/prices").json()["inputs"]
    with grpc.InferenceServerClient(f"{HOST}:{prices_grpc}") as client:
        result = client.infer("prices", home_tensors(grpc, inputs), parameters={"contributions": True})
    expected = prices.post_json("/score?contributions=yes", HOMES)["contributions"]
    rows = [[[*of["features"].values(), of["base"]] for of in each["of"].values()] for each in expected]
    assert result.as_numpy("contributions").tolist() == rows
    assert result.get_response().parameters["contributions_scale"].string_param == "value"


def test_grpc_typed_contents_equal_raw(served: tuple[Server, Any]) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    server, client = served
    inputs = server.get("/v2/models/homes").json()["inputs"]
    raw = client.infer("homes", home_tensors(grpc, inputs)).as_numpy("probabilities")
    fields = {"FP64": "fp64_contents", "INT64": "int64_contents", "BOOL": "bool_contents", "BYTES": "bytes_contents"}
    request = service_pb2.ModelInferRequest(model_name="homes")
    for about in inputs:
        tensor = request.inputs.add(name=about["name"], datatype=about["datatype"], shape=[2])
        values = [home[about["name"]] for home in HOMES]
        values = [float("nan") if value is None else value for value in values]
        values = [value.encode() if isinstance(value, str) else value for value in values]
        getattr(tensor.contents, fields[about["datatype"]]).extend(values)
    stub = service_pb2_grpc.GRPCInferenceServiceStub(client._channel)
    (_, content) = stub.ModelInfer(request).raw_output_contents
    assert np.array_equal(np.frombuffer(content, np.float32).reshape(2, 3), raw)


def refused(client: Any, inputs: Any, model: str = "homes", version: str = "") -> tuple[str, str]:
    with pytest.raises(grpc.InferenceServerException) as caught:
        client.infer(model, inputs, version)
    return str(caught.value.status()), str(caught.value.message())


def test_grpc_bad_request_returns_status_with_field_and_row(served: tuple[Server, Any]) -> None:
    server, client = served
    tensors = home_tensors(grpc, server.get("/v2/models/homes").json()["inputs"])
    assert refused(client, tensors, model="rose") == ("StatusCode.NOT_FOUND", "there is no model 'rose' here")
    assert refused(client, tensors, version="8")[0] == "StatusCode.NOT_FOUND"
    status, message = refused(client, tensors[:3])
    assert (status, message) == ("StatusCode.INVALID_ARGUMENT", "district is missing")
    tensors[3].set_data_from_numpy(np.array(["north", "south"], np.object_))
    status, message = refused(client, tensors)
    assert status == "StatusCode.INVALID_ARGUMENT"
    assert message == "district: expected one of 'east', 'north', 'west', got the text 'south' (row 1)"
    large = grpc.InferInput("features", [20_000, 6], "FP32")
    large.set_data_from_numpy(np.zeros((20_000, 6), np.float32))
    assert refused(client, [large])[0] == "StatusCode.RESOURCE_EXHAUSTED"


def test_grpc_calls_are_counted(served: tuple[Server, Any]) -> None:
    server, client = served
    assert client.is_server_live()
    path = 'path="/inference.GRPCInferenceService/ServerLive"'
    wait_until(lambda: path in server.get("/metrics").text, "no call was counted")
