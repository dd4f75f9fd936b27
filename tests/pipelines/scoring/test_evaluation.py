"""Metrics, curves and importance of tested models, compared with scikit-learn and with sums by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from settings.metrics import METRICS, metrics_of
from tests.pipelines.models import save_linear, save_part
from workloads.ml.errors import StepError
from workloads.ml.evaluation import curves, scores
from workloads.ml.evaluation.evaluate import evaluate_model
from workloads.ml.evaluation.predictor import Answers, Predictor, measure_answers
from workloads.ml.evaluation.report import report_page
from workloads.ml.model.model_directory import load_model_directory

ROWS = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)


def random_classification(classes: int, tied: bool) -> tuple[Any, Any]:
    """Return labels [rows] and probabilities [rows, classes], with equal probabilities in some rows if `tied`."""
    random = np.random.default_rng(classes)
    probabilities = random.dirichlet(np.ones(classes), 200)
    if tied:
        probabilities = (probabilities * 4).round() + 0.25
        probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = np.array([random.choice(classes, p=row) for row in probabilities])
    return labels, probabilities


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_probability_scores_equal_scikit_learn(classes: int, tied: bool) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    labels, probabilities = random_classification(classes, tied)
    found = scores.probability_scores(labels, probabilities)
    given = probabilities[:, 1] if classes == 2 else probabilities
    assert found["roc_auc"] == pytest.approx(roc_auc_score(labels, given, multi_class="ovr"))
    assert found["log_loss"] == pytest.approx(log_loss(labels, probabilities))


def test_probability_scores_without_rows_of_a_class_have_no_area() -> None:
    assert set(scores.probability_scores(np.zeros(3, int), np.full((3, 2), 0.5))) == {"log_loss"}


@pytest.mark.parametrize("targets", [1, 3])
def test_regression_scores_equal_scikit_learn(targets: int) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    random = np.random.default_rng(0)
    truth = random.normal(size=(50, targets))
    predicted = (truth + random.normal(size=truth.shape)).astype(np.float32)
    assert scores.regression_scores(truth, predicted) == pytest.approx(
        {
            "rmse": root_mean_squared_error(truth, predicted),
            "mae": mean_absolute_error(truth, predicted),
            "r2": r2_score(truth, predicted),
        }
    )


def test_curves_equal_scikit_learn() -> None:
    from sklearn.calibration import calibration_curve
    from sklearn.metrics import precision_recall_curve, roc_curve

    labels, probabilities = random_classification(2, tied=True)
    truth, column = labels == 1, probabilities[:, 1]
    expected = roc_curve(truth, column, drop_intermediate=False)
    found = curves.roc_curve(truth, column)
    assert np.allclose(found[0], expected[0])
    assert np.allclose(found[1], expected[1])
    assert np.isfinite(found[2]).all()
    precision, recall, _ = precision_recall_curve(truth, column)
    assert np.allclose(curves.precision_recall_curve(truth, column), [recall[-2::-1], precision[-2::-1]])
    observed, predicted = calibration_curve(truth, column, n_bins=10)
    assert np.allclose(curves.calibration_curve(truth, column), [predicted, observed])


def test_measure_answers_of_an_unknown_class_counts_as_wrong() -> None:
    probabilities = np.array([[0.9, 0.1], [0.0, 0.0]], np.float32)
    found = measure_answers(np.array([0, 1]), Answers(np.array([0, -1]), probabilities))
    assert (found["accuracy"], found["recall"], found["precision"]) == (0.5, 0.5, 0.5)


def test_evaluate_regression_measures_plots_and_ranks_features(tmp_path: Path) -> None:
    truth = ROWS @ [3.0, 0.0] + 1
    model = save_linear(tmp_path / "model", [3.0, 0.0], offset=1.5)
    test = save_part(tmp_path / "test.parquet", ROWS, truth)
    gate = [{"metric": "rmse", "below": 0.6}, {"metric": "r2", "above": 0.5}]
    found = evaluate_model(str(test), str(model), gate, None, "", "")
    assert set(found.metrics) == set(metrics_of("regression"))
    assert (found.metrics["rmse"], found.metrics["mae"]) == pytest.approx((0.5, 0.5), abs=1e-5)
    assert found.metrics["size"] == (model / "model.onnx").stat().st_size
    assert found.metrics["latency"] > 0
    assert found.verdict.passed
    assert found.verdict.comparison.startswith("rmse 0.5 < baseline 0.6, r2 ")
    assert set(found.plots) == {
        "predicted_and_true",
        "residuals",
        "residual_distribution",
        "permutation_importance",
    }
    page = report_page(found.title, found.metrics, found.plots, found.notes)
    assert page.count("data:image/png;base64,") == 4
    assert "linear: 200 test rows" in page
    importance = Predictor(load_model_directory(model)).importance(ROWS, truth)
    assert importance["a"] > 1
    assert importance["b"] == pytest.approx(0)


def test_evaluate_classification_has_curves_and_a_bounded_roc(tmp_path: Path) -> None:
    labels = (ROWS[:, 0] > 0).astype(np.int64)
    model = save_linear(tmp_path / "model", [5.0, 0.0], classes=["no", "yes"])
    test = save_part(tmp_path / "test.parquet", ROWS, labels)
    found = evaluate_model(str(test), str(model), [], 0.9, "", "")
    assert set(found.metrics) == set(metrics_of("classification"))
    assert (found.metrics["accuracy"], found.metrics["roc_auc"]) == (1, 1)
    assert found.verdict.passed
    assert {"roc_curve", "precision_recall_curve", "calibration", "confusion_matrix"} < set(found.plots)
    assert found.confusion.tolist() == [[(labels == 0).sum(), 0], [0, (labels == 1).sum()]]
    assert [len(column) for column in found.roc] == [curves.MAXIMUM_POINTS] * 3
    assert Predictor(load_model_directory(model)).importance(ROWS, labels)["a"] > 0.3


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ([{"metric": "f1", "above": 0.5}], "gate: a regression has no metric f1; its metrics are: rmse, mae, r2, size"),
        ([{"metric": "rmse", "above": 0.5}], "gate: rmse is better if it is smaller: write below instead of above"),
        ([{"metric": "rmse"}], "gate: a condition on rmse needs below with a number, better_than_champion"),
        ([{"metric": "rmse", "better_than_champion": True}], "needs model_name and tracking_url in the test step"),
    ],
)
def test_evaluate_with_a_gate_that_does_not_fit_raises_error(
    tmp_path: Path, gate: list[dict[str, Any]], message: str
) -> None:
    model = save_linear(tmp_path / "model", [3.0, 0.0])
    test = save_part(tmp_path / "test.parquet", ROWS[:9], np.zeros(9))
    with pytest.raises(StepError) as refused:
        evaluate_model(str(test), str(model), gate, None, "", "")
    assert message in str(refused.value)


def test_baseline_of_a_regression_names_its_metrics(tmp_path: Path) -> None:
    model = save_linear(tmp_path / "model", [3.0, 0.0])
    test = save_part(tmp_path / "test.parquet", ROWS[:9], np.zeros(9))
    with pytest.raises(StepError, match="gate: a regression has no metric accuracy; its metrics are: rmse"):
        evaluate_model(str(test), str(model), [], 0.7, "", "")


def test_every_metric_belongs_to_a_task_and_has_a_direction() -> None:
    assert {name for task in ("classification", "regression") for name in metrics_of(task)} == set(METRICS)
