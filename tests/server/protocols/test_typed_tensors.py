"""The open inference protocol for models with a column of each type, and for regressions."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import requests

from tests.server.protocols.test_bad_input import check
from tests.server.protocols.test_tritonclient import post
from tests.server.running import HOST, Server
from tests.server.typed_models import ENCODED, HOME

HOMES = [HOME, HOME | {"garden": False, "area": None, "heating": "wood", "built": ""}]
NUMPY = {"BYTES": np.object_, "BOOL": np.bool_, "INT64": np.int64, "FP64": np.float64}


def home_tensors(http: Any, inputs: list[dict[str, Any]], **options: Any) -> list[Any]:
    """Return a tensor of tritonclient for each input of the metadata, with the values of `HOMES`."""
    tensors = []
    for about in inputs:
        values = [home[about["name"]] for home in HOMES]
        values = [np.nan if value is None else value for value in values]
        tensors.append(http.InferInput(about["name"], [len(values)], about["datatype"]))
        tensors[-1].set_data_from_numpy(np.array(values, NUMPY[about["datatype"]]), **options)
    return tensors


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("outputs", [None, True, False])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritonclient_typed_columns_return_numbers_of_score(
    prices: Server, binary_input: bool, outputs: bool | None, compression: str | None
) -> None:
    http = pytest.importorskip("tritonclient.http")
    client = http.InferenceServerClient(f"{HOST}:{prices.port}")
    metadata = client.get_model_metadata("prices")
    datatypes = ["FP64", "INT64", "BOOL", "BYTES", "BYTES", "BYTES"]
    assert [about["datatype"] for about in metadata["inputs"]] == datatypes
    assert metadata["outputs"] == [{"name": "value", "datatype": "FP32", "shape": [-1, 2]}]
    result = client.infer(
        "prices",
        home_tensors(http, metadata["inputs"], binary_data=binary_input),
        outputs=None if outputs is None else [http.InferRequestedOutput("value", binary_data=outputs)],
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    expected = [[each["price"], each["rent"]] for each in prices.score(HOMES).json()["predictions"]]
    assert result.as_numpy("value").tolist() == [pytest.approx(row) for row in expected]
    client.close()


def test_infer_encoded_tensor_equals_columns(homes: Server) -> None:
    path = "/v2/models/homes/infer"

    def infer(values: list[Any]) -> requests.Response:
        tensor = {"name": "features", "shape": [1, 6], "datatype": "FP64", "data": values}
        return post(homes, json.dumps({"inputs": [tensor]}).encode(), path)

    columns = [
        {"name": name, "shape": [1], "datatype": datatype, "data": [HOME[name]]}
        for name, datatype in (("built", "BYTES"), ("district", "BYTES"), ("garden", "BOOL"), ("floors", "INT64"))
    ]
    missing = infer([None, 3, 1, 1, None, ENCODED[5]])
    assert missing.json() == post(homes, json.dumps({"inputs": columns}).encode(), path).json()
    assert missing.json() == infer([float("nan"), *ENCODED[1:4], float("nan"), ENCODED[5]]).json()
    check(infer([*ENCODED[:3], 3, *ENCODED[4:]]), 422, "unknown_category", "district", 0)
    check(infer([*ENCODED[:3], 0.5, *ENCODED[4:]]), 422, "unknown_category", "district", 0)
    check(infer([*ENCODED[:2], 0.5, *ENCODED[3:]]), 422, "not_a_boolean", "garden", 0)
    check(infer([*ENCODED[:5], 1e7]), 422, "out_of_range", "built", 0)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x05\0\0\0north", None),
        (b"\x06\0\0\0north", "unexpected_value"),
        (b"\x05\0\0", "unexpected_value"),
        (b"\x01\0\0\0\xff", "unexpected_value"),
        (b"\x01\0\0\0a\x01\0\0\0b", "bad_shape"),
        (b"", "bad_shape"),
        (b"\x05\0\0\0south", "unknown_category"),
    ],
)
def test_infer_binary_texts_are_read_or_refused(homes: Server, data: bytes, code: str | None) -> None:
    parameters = {"binary_data_size": len(data)}
    tensors = [
        {"name": "floors", "shape": [1], "datatype": "INT64", "data": [3]},
        {"name": "garden", "shape": [1], "datatype": "BOOL", "data": [True]},
        {"name": "district", "shape": [1], "datatype": "BYTES", "parameters": parameters},
    ]
    header = json.dumps({"inputs": tensors}).encode()
    response = post(homes, header + data, "/v2/models/homes/infer", Inference_Header_Content_Length=str(len(header)))
    assert response.json().get("code") == code, response.text


def test_tritonclient_contributions_are_the_same_in_json_and_binary(prices: Server) -> None:
    http = pytest.importorskip("tritonclient.http")
    inputs = prices.get("/v2/models/prices").json()["inputs"]
    with http.InferenceServerClient(prices.url.removeprefix("http://")) as client:
        found = [
            client.infer(
                "prices",
                home_tensors(http, inputs),
                outputs=outputs,
                parameters={"contributions": True},
            ).as_numpy("contributions")
            for outputs in (None, [http.InferRequestedOutput("contributions", binary_data=False)])
        ]
    assert found[0].dtype == np.float64
    assert found[0].shape == (len(HOMES), 2, len(inputs) + 1)
    assert found[0].tolist() == found[1].tolist()
