"""Several models in one server: their addresses, their swaps, and a model that cannot be served."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.registry import Registry
from tests.server.running import Server, running, wait_until
from tests.server.training import Trained

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
NAMES = ("together-iris", "together-homes", "together-broken")
IRIS, HOMES, BROKEN = NAMES


@pytest.fixture(scope="module")
def together(registry: Registry, iris: Trained, homes_model: Path, folder: Path) -> Iterator[Server]:
    """Start a server of three models, of which the last one's file is not the one of its signature."""
    broken = shutil.copytree(iris.folder, folder / "broken")
    (broken / "model.onnx").write_bytes(b"not a model")
    for name, files in zip(NAMES, (iris.folder, homes_model, broken), strict=True):
        sha256 = json.loads((files / "signature.json").read_text())["sha256"]
        registry.champion(name, registry.register(name, files, sha256))
    settings = {"REGISTRY": registry.url, "MODELS": ",".join(NAMES), "ALIAS": "champion", "POLL_SECONDS": 0.2}
    with running(folder / "together.log", CACHE=folder / "together", WORKERS=1, **settings) as server:
        yield server


def test_addresses_below_a_name_are_those_of_that_model_alone(together: Server, homes: Server) -> None:
    home = homes.get("/openapi.json").json()["paths"]["/score"]["post"]["requestBody"]["content"]
    row = home["application/json"]["example"]
    scored = together.post_json(f"/models/{HOMES}/score", row)
    assert scored == homes.score(row).json() | {"model_name": HOMES, "model_version": "1"}
    assert together.post_json(f"/models/{IRIS}/score", SETOSA)["species"] == "setosa"
    assert together.get(f"/models/{HOMES}/v2/models/{IRIS}").status_code == 404
    index = together.post_json(f"/models/{HOMES}/v2/repository/index", {})
    assert [each["name"] for each in index] == [HOMES]
    assert together.get(f"/models/{HOMES}/metrics").status_code == 404
    assert together.get(f"/models/{HOMES}/openapi.json").json()["info"]["title"] == f"Model server: {HOMES}"


def test_addresses_without_a_name_are_those_of_the_first_model(together: Server) -> None:
    assert together.score(SETOSA).json()["model_name"] == IRIS
    page = together.get("/").text
    assert f"<h1>{IRIS}</h1>" in page
    assert f'href="models/{HOMES}/"' in page


def test_open_inference_protocol_answers_for_each_model(together: Server) -> None:
    row = {"inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]}
    assert together.post_json(f"/v2/models/{IRIS}/infer", row)["model_name"] == IRIS
    assert together.get(f"/v2/models/{HOMES}").json()["versions"] == ["1"]
    states = {each["name"]: each["state"] for each in together.post_json("/v2/repository/index", {})}
    assert states == {IRIS: "READY", HOMES: "READY", BROKEN: "UNAVAILABLE"}
    assert together.get("/v2/models/another").json()["code"] == "unknown_model"


def test_broken_model_answers_503_and_is_named_in_health(together: Server) -> None:
    for path in (f"/models/{BROKEN}/v2/health/ready", f"/v2/models/{BROKEN}/ready"):
        response = together.get(path)
        assert (response.status_code, response.json()["code"]) == (503, "no_model")
        assert "version 1 is refused" in response.json()["error"]
    health = together.get("/v2/health/ready")
    assert health.status_code == 200
    assert [(each["name"], each["ready"]) for each in health.json()["models"]] == [
        (IRIS, True),
        (HOMES, True),
        (BROKEN, False),
    ]
    assert health.json()["problem"].startswith(f"{BROKEN}: version 1 is refused")
    assert f"{BROKEN}: version 1 is refused" in together.log.read_text()


def test_new_champion_of_one_model_leaves_the_others(together: Server, registry: Registry, iris: Trained) -> None:
    version = registry.register(BROKEN, iris.folder, iris.sha256)
    registry.champion(BROKEN, version)
    path = f"/models/{BROKEN}/score"
    wait_until(lambda: together.get(f"/v2/models/{BROKEN}/ready").ok, "the new champion is not served")
    assert together.post_json(path, SETOSA)["model_version"] == version
    assert together.score(SETOSA).json()["model_version"] == "1"
    assert together.get("/v2/health/ready").json()["problem"] is None
    wait_until(lambda: f'path="{path}"' in together.get("/metrics").text, "the request is not counted")
    metrics = together.get("/metrics").text
    assert f'model_server_models_refused_total{{model="{BROKEN}"}} 1.0' in metrics
    for name, served in ((IRIS, "1"), (BROKEN, version)):
        assert f'model_server_predictions_total{{class="setosa",model="{name}",version="{served}"}}' in metrics
