"""Registered models in `mlflow.pyfunc`: cells are encoded as batch scoring does, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from settings.paths import PROJECT
from tests.pipelines.models import save_linear
from tests.pipelines.training.test_training import save, train
from workloads.ml.data.encoding import encode_column
from workloads.ml.data.scan import table_scan
from workloads.ml.model.mlflow_model import save_mlflow_model
from workloads.ml.model.model_directory import load_model_directory
from workloads.ml.training.named_estimator import train_estimator

NUMBER: dict[str, Any] = {"type": "number"}
GAPS = {"missing": True, "missing_texts": ["999"]}
REGION: dict[str, Any] = {"type": "category", "categories": ["north", "south"]}
DAY: dict[str, Any] = {"type": "date"}
MARKED = {"missing": True, "missing_texts": ["?", "1900-01-01"]}
NAN = float("nan")


def loaded(folder: Path, feature: dict[str, Any], **arguments: Any) -> Any:
    """Return a model in the ONNX of another tool, whose prediction is the encoded cell of its only column `x`."""
    profile = {"name": "x", "minimum": 0.0, "maximum": 1.0, "mean": 0.5, **feature}
    save_linear(folder / "model", [1.0], features=[profile], **arguments)
    save_mlflow_model(load_model_directory(folder / "model"), folder / "mlflow")
    return mlflow.pyfunc.load_model(str(folder / "mlflow"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[dict[str, Any]], Any]:
    """Return a function that loads the model of a column once: saving one takes seconds."""
    models: dict[str, Any] = {}

    def load(feature: dict[str, Any]) -> Any:
        key = json.dumps(feature)
        if key not in models:
            models[key] = loaded(tmp_path_factory.mktemp("model"), feature)
        return models[key]

    return load


def frame(cell: Any) -> pd.DataFrame:
    return pd.DataFrame({"x": pd.Series([cell], dtype=object)})


@pytest.mark.parametrize(
    ("feature", "cell", "expected"),
    [
        (NUMBER, 2.5, 2.5),
        (NUMBER | GAPS, 999.0, NAN),
        (NUMBER | GAPS, NAN, NAN),
        (NUMBER | GAPS, 10.0, 10.0),
        ({"type": "integer"}, 3, 3.0),
        ({"type": "integer"} | GAPS, 999.0, NAN),
        ({"type": "boolean"}, True, 1.0),
        ({"type": "boolean", "missing": True}, 0.0, 0.0),
        ({"type": "boolean", "missing": True}, NAN, NAN),
        (REGION, "south", 1.0),
        (REGION | MARKED, "?", NAN),
        (REGION | MARKED, "", NAN),
        (REGION | MARKED, None, NAN),
        (REGION | {"unknown": True}, "eastern", NAN),
        (REGION | {"categories": ["None"]}, "None", 0.0),
        (DAY, "1970-03-01", 59.0),
        (DAY, "1972-02-29", 789.0),
        (DAY, "2000-02-29", 11016.0),
        (DAY | MARKED, "1900-01-01", NAN),
        (DAY | MARKED, "?", NAN),
        (DAY | MARKED, None, NAN),
    ],
)
def test_mlflow_model_encodes_cell_as_batch_scoring(
    served: Callable[[dict[str, Any]], Any], feature: dict[str, Any], cell: Any, expected: float
) -> None:
    predicted = served(feature).predict(frame(cell))["predicted_y"].to_numpy()
    schema: Any = {"name": "x", **feature}
    batch = encode_column(pa.chunked_array([pa.array([cell])]), schema)
    np.testing.assert_array_equal(predicted, [expected])
    np.testing.assert_array_equal(batch, [expected])


@pytest.mark.parametrize(
    ("feature", "cell", "allowed"),
    [
        (NUMBER, NAN, "a number"),
        (NUMBER, float("inf"), "a number"),
        (NUMBER | {"missing_texts": ["999"]}, 999.0, "a number"),
        (NUMBER | GAPS, float("inf"), "a number, or missing"),
        ({"type": "integer", "missing_texts": ["9"]}, 9, "a number"),
        ({"type": "boolean", "missing": True}, 0.5, "0 or 1, or missing"),
        (REGION, "eastern", "one of its categories"),
        (REGION, None, "one of its categories"),
        (REGION | MARKED, "eastern", "one of its categories"),
        (REGION | MARKED, "north ", "one of its categories without spaces around it, or missing"),
        (REGION | {"unknown": True}, "north ", "one of its categories without spaces around it"),
        (REGION | {"unknown": True}, "\u00a0north", "one of its categories"),
        (REGION | {"unknown": True}, "", "one of its categories"),
        (DAY, "", "a day such as 2024-02-29"),
        (DAY, None, "a day such as"),
        (DAY, "hello", "a day such as"),
        (DAY, " 2020-01-01", "a day such as"),
        (DAY, "2020-02-31", "a day such as"),
        (DAY, "2020-13-45", "a day such as"),
        (DAY, "2019-02-29", "a day such as"),
        (DAY, "1900-02-29", "a day such as"),
        (DAY | MARKED, "none", "a day such as 2024-02-29, or missing"),
    ],
)
def test_mlflow_model_refuses_cell_with_column_and_what_is_allowed(
    served: Callable[[dict[str, Any]], Any], feature: dict[str, Any], cell: Any, allowed: str
) -> None:
    model = served(feature)
    with pytest.raises(Exception, match=f"column x: each value must be {allowed}"):
        model.predict(frame(cell))


def test_mlflow_model_of_a_classification_of_another_tool_has_class_names(tmp_path: Path) -> None:
    answers = loaded(tmp_path, NUMBER, classes=["low", "high"]).predict(frame(2.5))
    assert (answers["label"].tolist(), answers["class"].tolist()) == ([1], ["high"])


def test_mlflow_model_of_a_detector_with_operators_of_old_onnx_predicts(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2)).round(3)
    lines = [f"{a},{b},{str(abs(a) > 1.5).lower()}" for a, b in rows]
    part = save(tmp_path, table_scan.parse("\n".join(["a,b,broken", *lines]).encode(), "broken", task="anomaly"))
    train_estimator(part, tmp_path / "model", "pumps", "OneClassSVM", {}, 0)
    model = load_model_directory(tmp_path / "model")
    save_mlflow_model(model, tmp_path / "mlflow")
    answers = mlflow.pyfunc.load_model(str(tmp_path / "mlflow")).predict(pd.DataFrame(rows, columns=["a", "b"]))
    anomalies, _ = model.predict_anomalies(rows.astype(np.float32))
    assert answers["anomaly"].tolist() == anomalies.tolist()


def test_mlflow_model_predicts_the_example_of_the_documentation(tmp_path: Path) -> None:
    save_mlflow_model(train(tmp_path, "classification"), tmp_path / "mlflow")
    (example,) = re.findall("```python\n(.*?)```", (PROJECT / "docs" / "notebook.md").read_text(), re.DOTALL)
    values: dict[str, Any] = {}
    exec(example.replace("models:/flats@champion", str(tmp_path / "mlflow")), values)
    assert values["predicted"]["class"].tolist() in (["no"], ["yes"])
