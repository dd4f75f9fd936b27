"""The champion on the test rows of a new model: its metrics, the changed answers, and models that differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.pipelines.models import save_linear, save_part
from workloads.ml import model_registry, tracking
from workloads.ml.errors import StepError
from workloads.ml.evaluation.champion_comparison import NotComparableError, compare_with_champion, fetch_champion
from workloads.ml.evaluation.evaluate import evaluate_model
from workloads.ml.evaluation.predictor import Predictor
from workloads.ml.model.model_directory import load_model_directory

ROWS = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
TRUTH = (ROWS[:, 0] > 0).astype(np.int64)
NUMBER = {"minimum": -1.0, "maximum": 1.0, "mean": 0.0, "type": "number"}
METRICS = {"accuracy": 0.9, "precision": 0.9, "recall": 0.9, "f1": 0.9}


def category(*categories: str, **more: Any) -> dict[str, Any]:
    return {"name": "b", **NUMBER, "type": "category", "categories": list(categories), **more}


def predictor(folder: Path, *arguments: Any, **named: Any) -> Predictor:
    return Predictor(load_model_directory(save_linear(folder, *arguments, **named)))


def compare(champion: Predictor, new: Predictor, rows: Any = ROWS, truth: Any = TRUTH) -> dict[str, float]:
    return compare_with_champion(champion, new, rows, truth, new.answer(rows))


def test_compare_finds_features_and_classes_by_name(tmp_path: Path) -> None:
    new = predictor(tmp_path / "new", [5.0, 0.0], classes=["no", "yes"])
    same = predictor(tmp_path / "same", [0.0, -5.0], classes=["yes", "no"], names=["b", "a"])
    found = compare(same, new)
    assert found["champion_accuracy"] == 1
    assert found["changed_answers"] == 0
    other = compare(predictor(tmp_path / "other", [-5.0, 0.0], classes=["no", "yes"]), new)
    assert (other["champion_accuracy"], other["changed_answers"]) == (0, 200)


def test_compare_class_that_the_new_model_lacks_counts_as_wrong(tmp_path: Path) -> None:
    new = predictor(tmp_path / "new", [5.0, 0.0], classes=["no", "yes"])
    found = compare(predictor(tmp_path / "old", [5.0, 0.0], classes=["gone", "yes"]), new)
    assert found["champion_accuracy"] == pytest.approx(TRUTH.mean())
    assert found["changed_answers"] == (TRUTH == 0).sum()


def test_compare_finds_whole_numbers_that_an_earlier_version_named_as_floats(tmp_path: Path) -> None:
    new = predictor(tmp_path / "new", [5.0, 0.0], classes=["0", "1"])
    same = predictor(tmp_path / "same", [5.0, 0.0], classes=["0.0", "1.0"])
    found = compare(same, new)
    assert (found["champion_accuracy"], found["changed_answers"]) == (1, 0)
    codes = predictor(tmp_path / "codes", [5.0, 0.0], classes=["00", "01"])
    assert compare(codes, new)["champion_accuracy"] == 0


def test_compare_regression_counts_answers_that_move_by_more_than_the_error(tmp_path: Path) -> None:
    truth = ROWS[:, 0].astype(np.float64)
    new = predictor(tmp_path / "new", [1.0, 0.0])
    found = compare(predictor(tmp_path / "old", [1.0, 1.0]), new, truth=truth)
    error = np.sqrt((ROWS[:, 1] ** 2).mean())
    assert found["champion_rmse"] == pytest.approx(error)
    assert found["changed_answers"] == (np.abs(ROWS[:, 1]) > error).sum()


def test_compare_categories_by_name(tmp_path: Path) -> None:
    features = [{"name": "a", **NUMBER}, category("red", "green")]
    rows = np.array([[0, 0], [0, 1]], np.float32)
    new = predictor(tmp_path / "new", [0.0, 1.0], features=features)
    old = predictor(tmp_path / "old", [0.0, -1.0], offset=1, features=[features[0], category("green", "red")])
    assert compare(old, new, rows, np.array([0.0, 1.0]))["champion_rmse"] == 0


@pytest.mark.parametrize(
    ("champion", "reason"),
    [
        ({"names": ["a", "c"]}, "it needs the features c, which the test rows lack"),
        ({"classes": ["no", "yes"]}, "its task is classification, the new model's is regression"),
        ({"features": [{"name": "a", **NUMBER}, {"name": "b", **NUMBER}]}, "its feature b is of type number, the test"),
        ({"features": [{"name": "a", **NUMBER}, category("red")]}, "its feature b allows no missing value or new cat"),
    ],
)
def test_compare_with_a_champion_of_other_features_raises_reason(
    tmp_path: Path, champion: dict[str, Any], reason: str
) -> None:
    new = predictor(tmp_path / "new", [1.0, 0.0], features=[{"name": "a", **NUMBER}, category("red", "green")])
    old = predictor(tmp_path / "old", [1.0, 0.0], **champion)
    with pytest.raises(NotComparableError, match=reason):
        compare(old, new, np.array([[0, 0], [0, 1]], np.float32), np.zeros(2))


def test_evaluate_against_a_registered_champion_decides_by_the_same_rows(tmp_path: Path, mlflow_url: str) -> None:
    classes = ["no", "yes"]
    worse = save_linear(tmp_path / "worse", [5.0, 5.0], classes=classes)
    better = save_linear(tmp_path / "better", [5.0, 0.0], classes=classes)
    test = str(save_part(tmp_path / "test.parquet", ROWS, TRUTH))
    gate = [{"metric": "f1", "better_than_champion": True}]

    def evaluate(folder: Path, gate: Any = gate, url: str = mlflow_url) -> Any:
        return evaluate_model(test, str(folder), gate, None, "compared", url)

    first = evaluate(worse)
    assert (first.verdict.passed, "champion_f1" in first.metrics) == (True, False)
    assert first.verdict.comparison == f"f1 {first.metrics['f1']:.3g} without a champion to compare with"
    assert first.notes[1:] == ["compared has no champion to compare with"]
    assert model_registry.register(mlflow_url, worse, "compared", METRICS, "some-pipeline", "a") == "1"

    same, second = evaluate(worse), evaluate(better)
    assert same.verdict.passed is False
    assert same.verdict.comparison.endswith(": not above it")
    assert second.verdict.passed
    assert second.metrics["champion_f1"] == same.metrics["f1"] < second.metrics["f1"] == 1
    changed = int(second.metrics["changed_answers"])
    assert changed > 0
    assert second.notes[1] == f"{changed} of 200 answers differ from those of the champion, compared version 1"

    three = save_linear(tmp_path / "three", [5.0, 0.0, 0.0], classes=classes, names=["a", "b", "c"])
    assert model_registry.register(mlflow_url, three, "compared", METRICS, "some-pipeline", "b") == "2"
    reason = "the champion of compared cannot predict these test rows: it needs the features c"
    assert evaluate(better, []).notes[1].startswith(reason)
    with pytest.raises(StepError, match=f"gate: {reason}.*; remove better_than_champion from the gate"):
        evaluate(better)


def test_register_without_a_gate_leaves_the_alias_to_the_platform(tmp_path: Path, mlflow_url: str) -> None:
    model = save_linear(tmp_path / "model", [5.0, 0.0], classes=["no", "yes"])
    register = model_registry.register
    assert register(mlflow_url, model, "ungated", METRICS, "some-pipeline", "a", champion=False) == "1"
    assert tracking.client(mlflow_url).get_registered_model("ungated").aliases == {}
    assert fetch_champion(mlflow_url, "ungated") is None


def test_fetch_champion_from_an_unavailable_registry_raises_error() -> None:
    with pytest.raises(StepError, match=r"the champion of iris cannot be read from http://127\.0\.0\.1:1"):
        fetch_champion("http://127.0.0.1:1", "iris")
