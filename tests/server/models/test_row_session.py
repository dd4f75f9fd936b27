"""Single rows by ONNX Runtime's C interface, which predict exactly what its Python interface predicts."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from model_server.model import model, row_session
from model_server.model.model import Model
from model_server.model.model_package import read_package
from model_server.model.onnxruntime_api import Api, OnnxRuntimeError, onnxruntime_api
from model_server.model.row_session import RowSession
from tests.server.models.test_anomaly_answers import distance_onnx, package
from tests.server.training import IRIS, make_endless, train_iris
from tests.server.typed_models import train_class, train_price
from workloads.ml.model.model_directory import build_signature, save_model_directory, sha256_hex
from workloads.ml.model.onnx_export import classifier_to_onnx

ESTIMATORS = {
    "linear": LogisticRegression(max_iter=500),
    "scaled": make_pipeline(StandardScaler(), LogisticRegression()),
    "network": MLPClassifier((8,), max_iter=50, random_state=0),
    "boosted": GradientBoostingClassifier(n_estimators=10, random_state=0),
}
ROWS = 500


@pytest.fixture(scope="module", autouse=True)
def _library() -> None:
    try:
        onnxruntime_api()
    except OnnxRuntimeError as error:
        pytest.skip(f"single rows take ONNX Runtime's Python interface: {error}")


def load(folder: Path) -> Model:
    return Model(None, read_package(folder, "7", {}))


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Model]:
    """Return models of each task, none of which is a forest that counts votes."""
    iris, homes = load_iris(), folder / "row-models"
    found = {
        "class": load(train_class(homes / "class")),
        "price": load(train_price(homes / "price")),
        "prices": load(train_price(homes / "prices", targets=2)),
        "pumps": Model(None, package(distance_onnx())),
    }
    rows = iris.data.astype(np.float32)
    for name, estimator in ESTIMATORS.items():
        content = classifier_to_onnx(estimator.fit(rows, iris.target))
        about = {
            "features": list(IRIS),
            "target": "species",
            "classes": iris.target_names.tolist(),
            "source": "scikit-learn",
            "sha256": sha256_hex(rows.tobytes()),
            "rows": len(rows),
        }
        save_model_directory(homes / name, content, build_signature(name, content, rows, about))
        found[name] = load(homes / name)
    return found


def random_rows(served: Model) -> NDArray[np.float32]:
    """Return rows within and beyond the training data's ranges, with missing values where they may be."""
    random, features = np.random.default_rng(1), served.signature.features
    low, high = np.array([(each.minimum, each.maximum) for each in features]).T
    rows = random.uniform(low - (high - low) / 2, high + (high - low) / 2, (ROWS, len(features)))
    for column, feature in enumerate(features):
        if served.signature.type_of(feature) in ("integer", "boolean", "category"):
            rows[:, column] = rows[:, column].clip(feature.minimum, feature.maximum).round()
        if feature.may_miss:
            rows[random.random(ROWS) < 0.2, column] = np.nan
    return rows.astype(np.float32)


@pytest.mark.parametrize("name", ["class", "price", "prices", "pumps", *ESTIMATORS])
def test_session_predicts_what_the_python_interface_predicts(name: str, models: dict[str, Model]) -> None:
    served = models[name]
    assert served._row_session
    for row in random_rows(served):
        outputs, inputs = served.predict_row(row.tolist())
        assert outputs == served._run_row(row.tobytes())
        assert inputs == row.tobytes()


def test_session_in_several_threads_answers_each_its_own_row(models: dict[str, Model]) -> None:
    served = models["class"]
    rows = [row.tobytes() for row in random_rows(served)]
    expected = [served._run_row(row) for row in rows]
    assert served._row_session
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(served._row_session.predict, rows * 20)) == expected * 20


def test_session_ends_with_its_model(models: dict[str, Model], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    for kind, release in onnxruntime_api()._release.items():
        monkeypatch.setitem(onnxruntime_api()._release, kind, counted(kind, release, released))
    served = load(folder / "row-models" / "linear")
    session = weakref.ref(served._row_session)
    del served
    gc.collect()
    assert session() is None
    assert released == ["IoBinding", "Value", "Value", "Value", "MemoryInfo", "Session", "SessionOptions"]


def counted(kind: str, release: Callable[[Any], None], released: list[str]) -> Callable[[Any], None]:
    """Return a function that releases an object and writes its kind down."""

    def count_and_release(created: Any) -> None:
        released.append(kind)
        release(created)

    return count_and_release


@pytest.mark.parametrize(
    "change",
    [
        lambda monkeypatch: monkeypatch.setattr(row_session, "MOST_BYTES", 100),
        lambda monkeypatch: monkeypatch.setattr(model, "MOST_SECONDS", 0),
        lambda monkeypatch: monkeypatch.setattr(RowSession, "predict", lambda *_: (0, [1.0, 0.0, 0.0])),
        lambda monkeypatch: monkeypatch.setattr(row_session, "onnxruntime_api", no_library),
    ],
    ids=["large", "slow", "other outputs", "no library"],
)
def test_model_without_a_session_predicts_by_the_python_interface(
    change: Any, models: dict[str, Model], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = [5.1, 3.5, 1.4, 0.2]
    expected, _ = models["linear"].predict_row(row)
    change(monkeypatch)
    served = load(folder / "row-models" / "linear")
    assert served._row_session is None
    assert served.predict_row(row)[0] == expected


def no_library() -> Api:
    raise OnnxRuntimeError("no library")


def test_model_with_a_loop_gets_no_session(folder: Path) -> None:
    endless = train_iris(folder / "row-endless", trees=1).folder
    make_endless(endless)
    signature = json.loads((endless / "signature.json").read_text())
    with pytest.raises(OnnxRuntimeError, match="may take long"):
        RowSession((endless / "model.onnx").read_bytes(), len(signature["features"]), [])


def test_model_with_a_loop_in_a_branch_or_a_function_gets_no_session() -> None:
    branch = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1, 1] features, bool c) => (float[1, 1] y) {
          y = If (c) <then_branch = a () => (float[1, 1] t) { t = Abs (features) },
                      else_branch = b () => (float[1, 1] e) { e = Neg (features) }>
        }"""
    )
    function = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17, "own": 1]> g (float[1, 1] features) => (float[1, 1] y) {
          y = own.twice (features)
        }
        <domain: "own", opset_import: ["": 17]> twice (x) => (z) { z = Add (x, x) }"""
    )
    for each in (branch, function):
        with pytest.raises(OnnxRuntimeError, match="may take long"):
            RowSession(each.SerializeToString(), 1, [])


def test_refusal_of_onnx_runtime_is_an_error_with_its_reason() -> None:
    with pytest.raises(OnnxRuntimeError, match="No Op registered for ReduceSam"):
        RowSession(distance_onnx().replace(b"ReduceSum", b"ReduceSam"), 2, [])
