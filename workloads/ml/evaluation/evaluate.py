"""Test of a model on rows that it was not trained on: metrics, plots, and the decision of the gate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from settings.metrics import BETTER, CLASSIFICATION, REGRESSION, metrics_of
from workloads.ml.data.encoding import Rows
from workloads.ml.data.table import load_table
from workloads.ml.data.target import Labels, Values
from workloads.ml.errors import StepError
from workloads.ml.evaluation import champion_comparison, report
from workloads.ml.evaluation.curves import roc_curve, thinned
from workloads.ml.evaluation.predictor import Answers, Predictor
from workloads.ml.evaluation.scores import Confusion, confusion
from workloads.ml.evaluation.verdict import CHANGED_ANSWERS, Gate, Verdict, judge, resolve_gate
from workloads.ml.model.model_directory import load_importance, load_model_directory


@dataclass(frozen=True)
class Evaluation:
    """Result of a test.

    Args:
        title: Heading of the report.
        metrics: Metrics of the model; with a champion, also those of the champion and the number of changed answers.
        verdict: The decision of the gate.
        plots: Plots as PNG by name.
        notes: Sentences on the comparison with the champion.
        classes: The classes; empty for a regression.
        confusion: The confusion matrix; empty for a regression.
        roc: False positive rates, true positive rates and thresholds of a model with two classes, else empty.
    """

    title: str
    metrics: dict[str, float]
    verdict: Verdict
    plots: dict[str, bytes]
    notes: list[str]
    classes: list[str] = field(default_factory=list)
    confusion: Confusion = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    roc: list[list[float]] = field(default_factory=list)


def evaluate_model(
    test: str, folder: str, gate: Gate | None, baseline: float | None, model_name: str, tracking_url: str
) -> Evaluation:
    """Test the model directory in `folder` on the part `test`, and compare it with the champion.

    Args:
        test: Path of the test part, as the preprocessing step writes it.
        folder: Path of the model directory.
        gate: Conditions of the gate.
        baseline: The accuracy to exceed, in place of an empty `gate`.
        model_name: Name of the registered model; empty for no comparison with its champion.
        tracking_url: Address of MLflow.

    Raises:
        StepError: The gate has a metric that the model does not have, or the champion cannot be compared as it says.
    """
    model = Predictor(load_model_directory(Path(folder)))
    conditions = resolve_gate(gate, baseline)
    _require_metrics(conditions, model.task)
    rows, truth = load_table(test)
    answers = model.answer(rows)
    metrics = model.measure(rows, truth, answers)
    notes = _compare(model, rows, truth, answers, metrics, conditions, model_name, tracking_url)
    verdict = judge(conditions, metrics)
    plots, shown = _describe(model, rows, truth, answers)
    if importance := load_importance(Path(folder)):
        plots["feature_importance"] = report.plot_importance(importance)
    title = f"{model.signature['model']}: {len(rows)} test rows"
    return Evaluation(title, metrics, verdict, plots, [verdict.comparison, *notes], **shown)


def _require_metrics(gate: Gate, task: str) -> None:
    allowed = metrics_of(task)
    if wrong := [condition["metric"] for condition in gate if condition["metric"] not in allowed]:
        raise StepError(f"gate: a {task} has no metric {wrong[0]}; its metrics are: {', '.join(allowed)}")


def _compare(
    model: Predictor,
    rows: Rows,
    truth: Labels | Values,
    answers: Answers,
    metrics: dict[str, float],
    gate: Gate,
    model_name: str,
    tracking_url: str,
) -> list[str]:
    """Add the champion's metrics to `metrics` and return sentences on the comparison."""
    required = any(condition.get(BETTER) for condition in gate)
    if not (model_name and tracking_url):
        if required:
            raise StepError(f"gate: {BETTER} needs model_name and tracking_url in the test step")
        return []
    try:
        found = champion_comparison.fetch_champion(tracking_url, model_name)
        if found is None:
            return [f"{model_name} has no champion to compare with"]
        version, champion = found
        metrics |= champion_comparison.compare_with_champion(champion, model, rows, truth, answers)
    except champion_comparison.NotComparableError as error:
        reason = f"the champion of {model_name} cannot predict these test rows: {error}"
        if required:
            raise StepError(f"gate: {reason}; remove {BETTER} from the gate for this change") from None
        return [reason]
    changed = f"{metrics[CHANGED_ANSWERS]:.0f} of {len(rows)} answers differ from those of the champion"
    return [f"{changed}, {model_name} version {version}"]


def _describe(
    model: Predictor, rows: Rows, truth: Labels | Values, answers: Answers
) -> tuple[dict[str, bytes], Mapping[str, Any]]:
    """Return the plots, and the fields of the result that a regression lacks."""
    importance = report.plot_permutation_importance(model.importance(rows, truth), model.main_metric)
    if model.task == REGRESSION:
        values = np.asarray(truth, dtype=np.float64).reshape(len(rows), -1)
        targets = model.signature.get("targets") or [model.signature["target"]]
        plots = report.plot_residuals(values, np.asarray(answers.values), targets)
        return plots | {"permutation_importance": importance}, {}
    classes = model.signature["classes"]
    labels = np.asarray(truth, dtype=np.int64)
    matrix = confusion(labels, np.asarray(answers.values, dtype=np.int64), len(classes))
    plots = {"confusion_matrix": report.plot_confusion(matrix, classes)}
    both = len(classes) == 2 and len(set(labels.tolist())) == 2
    if model.task == CLASSIFICATION:
        plots |= report.plot_curves(labels, answers.probabilities, classes)
    elif both:
        plots |= report.plot_scores(labels == 1, answers.probabilities[:, -1])
    roc = thinned(*roc_curve(labels == 1, answers.probabilities[:, -1])) if both else []
    fields = {"classes": classes, "confusion": matrix, "roc": roc}
    return plots | {"permutation_importance": importance}, fields
