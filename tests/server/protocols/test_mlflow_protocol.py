"""POST /invocations: the requests and answers of `mlflow models serve`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from tests.server.protocols.test_bad_input import cases, check
from tests.server.running import Server, running
from tests.server.typed_models import HOME
from workloads.ml.model import mlflow_model, model_directory
from workloads.ml.model.onnx_export import forest_to_onnx

NAMES = ["class", "sepal_width", "petal_length", "petal_width"]
"""Names of features; the first is also the name of a column of the predictions."""


@pytest.fixture(scope="module")
def registered(folder: Path) -> Path:
    """Return an MLflow Model as the pipelines register it."""
    data = load_iris()
    rows = data.data.astype(np.float32)
    content = forest_to_onnx(RandomForestClassifier(10, random_state=0).fit(rows, data.target))
    about = {"features": NAMES, "target": "species", "classes": data.target_names.tolist()}
    about |= {"source": "scikit-learn", "sha256": "", "rows": len(rows)}
    model = model_directory.ModelDirectory(content, model_directory.build_signature("iris", content, rows, about))
    mlflow_model.save_mlflow_model(model, folder / "registered")
    return folder / "registered"


@pytest.fixture(scope="module")
def flowers(folder: Path, registered: Path) -> Iterator[Server]:
    with running(folder / "flowers.log", DIRECTORY=registered, VERSION="7", WORKERS=1) as server:
        yield server


def test_invocations_all_forms_equal_mlflow(registered: Path, flowers: Server) -> None:
    import mlflow.pyfunc
    from mlflow.pyfunc.scoring_server import invocations

    served = mlflow.pyfunc.load_model(str(registered))
    frame = pd.DataFrame(load_iris().data[::40], columns=NAMES)[NAMES[::-1]]
    contents: list[Any] = [
        {"dataframe_split": frame.to_dict("split")},
        {"dataframe_split": frame.to_dict("tight") | {"index": None}},
        {"dataframe_records": frame.to_dict("records"), "params": None},
        {"instances": frame.to_dict("records")},
        {"inputs": frame.to_dict("list")},
        {"inputs": frame.to_dict("records")},
    ]
    del contents[1]["dataframe_split"]["index_names"], contents[1]["dataframe_split"]["column_names"]
    bodies = [(json.dumps(content), "application/json") for content in contents]
    file = io.StringIO()
    frame.to_csv(file, index=False)
    for body, content_type in [*bodies, (file.getvalue(), "text/csv")]:
        schema = served.metadata.get_input_schema()
        theirs = json.loads(invocations(body, content_type, served, schema).response)  # type: ignore[no-untyped-call]
        ours = flowers.post(body.encode(), "/invocations", content_type)
        assert list(ours.json()) == list(theirs) == ["predictions"], ours.text
        for our, their in zip(ours.json()["predictions"], theirs["predictions"], strict=True):
            assert list(our) == list(their)
            assert our == pytest.approx(their, abs=1e-6)


def test_invocations_regression_returns_targets(prices: Server) -> None:
    response = prices.post(json.dumps({"instances": [HOME]}).encode(), "/invocations").json()
    expected = prices.score(HOME).json()
    numbers = {"predicted_price": expected["price"], "predicted_rent": expected["rent"]}
    assert response["predictions"] == [pytest.approx(numbers)]


COLUMNS = "dataframe_split.columns"
SPLIT = {"columns": ["a", "b"], "data": [[1, 2]]}
BAD: list[tuple[str, Any, str, str | None, int | None]] = [
    ("a list", [HOME], "unexpected_value", None, None),
    ("no form", {"rows": [HOME]}, "missing_field", None, None),
    ("two forms", {"instances": [HOME], "inputs": [HOME]}, "missing_field", None, None),
    ("parameters", {"instances": [HOME], "params": {"a": 1}}, "unexpected_value", "params", None),
    ("unknown member", {"instances": [HOME], "signature_name": ""}, "unknown_field", "signature_name", None),
    ("no list", {"instances": HOME}, "unexpected_value", "instances", None),
    ("no rows", {"instances": []}, "no_rows", None, None),
    ("row of values", {"instances": [[1, 2]]}, "not_an_object", None, 0),
    ("wrong value", {"inputs": [HOME, HOME | {"floors": 1.5}]}, "not_an_integer", "floors", 1),
    ("columns of a text", {"inputs": {"floors": "3"}}, "unexpected_value", "inputs.floors", None),
    ("columns of two lengths", {"inputs": {"a": [1], "b": []}}, "bad_shape", "inputs", None),
    ("unknown column", {"inputs": {**{k: [v] for k, v in HOME.items()}, "a": [1]}}, "unknown_field", "a", 0),
    ("no columns", {"dataframe_split": {"data": []}}, "missing_field", COLUMNS, None),
    ("column twice", {"dataframe_split": SPLIT | {"columns": ["a", "a"]}}, "duplicate_field", "a", None),
    (
        "number as a column",
        {"dataframe_split": SPLIT | {"columns": ["a", 1]}},
        "unexpected_value",
        "dataframe_split.columns",
        None,
    ),
    ("short row", {"dataframe_split": SPLIT | {"data": [[1, 2], [1]]}}, "wrong_column_count", None, 1),
    ("absent column", {"dataframe_split": SPLIT}, "missing_field", "floors", 0),
]


@pytest.mark.parametrize(("content", "code", "field", "row"), cases(BAD))
def test_invocations_bad_request_returns_422_with_field_and_row(
    homes: Server, content: Any, code: str, field: str | None, row: int | None
) -> None:
    check(homes.post(json.dumps(content).encode(), "/invocations"), 422, code, field, row)


def test_invocations_other_content_type_returns_415(homes: Server) -> None:
    check(homes.post(b"PAR1", "/invocations", "application/vnd.apache.parquet"), 415, "unsupported_media_type")
