"""Detection of anomalies: a marked table, a detector that is trained on its normal rows, and its test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from workloads.ml.data import table
from workloads.ml.data.scan import table_scan
from workloads.ml.errors import StepError
from workloads.ml.evaluation.evaluate import Evaluation, evaluate_model
from workloads.ml.model.forest import train_forest
from workloads.ml.model.mlflow_model import save_mlflow_model
from workloads.ml.model.model_directory import load_model_directory, require_servable
from workloads.ml.training.named_estimator import train_estimator

DETECTORS = [("IsolationForest", {"contamination": 0.02}), ("LocalOutlierFactor", {}), ("OneClassSVM", {"nu": 0.05})]


def pumps(marks: tuple[str, str] = ("false", "true")) -> bytes:
    """Return measurements of pumps as CSV: one row in six is an anomaly, far from all others."""
    random = np.random.default_rng(0)
    lines = ["pressure,kind,heat,broken"]
    for row in range(240):
        broken = row % 6 == 0
        pressure = random.normal(5, 0.5) + (6 if broken else 0)
        heat = "" if row % 11 == 0 else f"{random.normal(60, 4) + (70 if broken else 0):.3f}"
        lines.append(f"{pressure:.3f},{'ab'[row % 2]},{heat},{marks[broken]}")
    return "\n".join(lines).encode()


def trained(folder: Path, estimator: str, **parameters: Any) -> Evaluation:
    """Train a detector in `folder`, and return its evaluation with a gate on F1."""
    parsed = table_scan.parse(pumps(), "broken", columns={"heat": {"missing": True}}, task="anomaly")
    for name, part in zip(("train", "test"), table.split(parsed.labels, seed=0), strict=True):
        table.save_table(str(folder / name), parsed, part)
    train_estimator(str(folder / "train"), folder / "model", "pumps", estimator, parameters, seed=0)
    return evaluate_model(str(folder / "test"), str(folder / "model"), [{"metric": "f1", "above": 0.6}], None, "", "")


@pytest.mark.parametrize(("estimator", "parameters"), DETECTORS)
def test_detector_finds_the_marked_rows_and_passes_the_gate(
    tmp_path: Path, estimator: str, parameters: dict[str, Any]
) -> None:
    found = trained(tmp_path, estimator, **parameters)
    model = load_model_directory(tmp_path / "model")
    require_servable(model)
    assert (model.signature["task"], model.signature["classes"]) == ("anomaly", ["normal", "anomaly"])
    assert found.metrics["recall"] == 1
    assert found.metrics["roc_auc"] > 0.95
    assert found.verdict.passed, found.verdict.comparison
    assert set(found.metrics) == {"precision", "recall", "f1", "roc_auc", "size", "latency"}
    assert found.confusion.sum(axis=1).tolist() == [40, 8]
    assert {"confusion_matrix", "roc_curve", "precision_recall_curve", "permutation_importance"} <= set(found.plots)


@pytest.mark.parametrize(("estimator", "parameters"), [("OneClassSVM", {"nu": 0.05}), ("IsolationForest", {})])
def test_detector_as_mlflow_model_predicts_a_data_frame(
    tmp_path: Path, estimator: str, parameters: dict[str, Any]
) -> None:
    import mlflow.pyfunc

    trained(tmp_path, estimator, **parameters)
    save_mlflow_model(load_model_directory(tmp_path / "model"), tmp_path / "mlflow")
    rows = pd.DataFrame({"pressure": [5.0, 50.0], "kind": ["a", "b"], "heat": [60.0, np.nan]}).astype({"kind": object})
    predicted = mlflow.pyfunc.load_model(str(tmp_path / "mlflow")).predict(rows)
    assert list(predicted["anomaly"]) == [False, True]
    assert predicted["score"][0] <= 0 < predicted["score"][1]


@pytest.mark.parametrize("marks", [("0", "1"), ("False", "TRUE")])
def test_parse_marks_of_anomalies_become_classes(marks: tuple[str, str]) -> None:
    parsed = table_scan.parse(pumps(marks), "broken", columns={"heat": {"missing": True}}, task="anomaly")
    assert np.bincount(parsed.labels.astype(int)).tolist() == [200, 40]


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (("ok", "broken"), "column broken, row 1: broken; with `task: anomaly`, a cell must be true or 1"),
        (("0", ""), "column broken, row 1: empty"),
        (("0", "0"), "marks 0 of 240 rows as anomaly; at least 5"),
    ],
)
def test_parse_target_that_marks_no_anomalies_is_refused(marks: tuple[str, str], message: str) -> None:
    with pytest.raises(StepError, match=message):
        table_scan.parse(pumps(marks), "broken", columns={"heat": {"missing": True}}, task="anomaly")


@pytest.mark.parametrize(
    ("estimator", "parameters", "message"),
    [
        ("LogisticRegression", {}, "is not an outlier detector, and the task is anomaly"),
        ("LocalOutlierFactor", {"novelty": False}, "novelty: it must be true"),
        ("EllipticEnvelope", {}, "cannot be exported to ONNX"),
        ("IsolationForst", {}, "similar names are: IsolationForest"),
    ],
)
def test_train_estimator_that_is_no_servable_detector_is_refused(
    tmp_path: Path, estimator: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(StepError, match=message):
        trained(tmp_path, estimator, **parameters)


def test_train_forest_table_of_anomalies_names_a_detector(tmp_path: Path) -> None:
    trained(tmp_path, "OneClassSVM")
    with pytest.raises(StepError, match="estimator: IsolationForest"):
        train_forest(str(tmp_path / "train"), tmp_path / "forest", "pumps", 10, 0)
