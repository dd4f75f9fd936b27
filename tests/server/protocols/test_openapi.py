"""GET /openapi.json describes the served model, and the server keeps to it for all generated requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import MAX_ROWS
from tests.server.running import Server
from tests.server.training import IRIS


@pytest.fixture(scope="module")
def document(server: Server) -> Any:
    return server.get("/openapi.json").json()


def test_openapi_row_has_features_and_ranges(document: Any) -> None:
    row = document["components"]["schemas"]["Row"]
    assert (list(row["properties"]), row["required"], row["additionalProperties"]) == (list(IRIS), list(IRIS), False)
    width = row["properties"]["petal_width"]
    assert width["minimum"] == 0
    assert width["maximum"] == pytest.approx(2.5 + 10 * 2.4)
    assert document["components"]["schemas"]["Rows"]["maxItems"] == MAX_ROWS


def test_openapi_prediction_has_target_and_classes(document: Any) -> None:
    prediction = document["components"]["schemas"]["Prediction"]["properties"]
    assert prediction["species"] == {"enum": ["setosa", "versicolor", "virginica"]}


def test_openapi_paths_are_all_routes(document: Any, server: Server) -> None:
    model = "/v2/models/{name}"
    assert document["paths"].keys() == {
        *(
            "/",
            "/score",
            "/invocations",
            "/metrics",
            "/openapi.json",
            "/v2",
            "/v2/repository/index",
            "/v2/health/live",
            "/v2/health/ready",
        ),
        *(prefix + end for prefix in (model, f"{model}/versions/{{version}}") for end in ("", "/ready", "/infer")),
    }


def test_schemathesis_generated_requests_find_no_failure(server: Server, folder: Path) -> None:
    ended = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            *("run", f"{server.url}/openapi.json", "--no-color", "--seed", "1", "--generation-deterministic"),
            *("--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--workers", "2"),
        ],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=folder,
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-2000:]
    assert "POST /score" not in ended.stdout  # only failures name their operation
