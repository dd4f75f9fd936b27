"""The decision of a gate: which conditions the metrics of a tested model meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settings.metrics import BETTER, METRICS, condition_fault
from workloads.ml.errors import StepError

CHAMPION_PREFIX = "champion_"
"""Prefix of the champion's metrics on the same test rows, beside those of the new model."""
CHANGED_ANSWERS = "changed_answers"
"""Metric: number of test rows for which the new model answers otherwise than the champion."""

Gate = Sequence[Mapping[str, Any]]
"""Conditions, as the setting `gate` of a pipeline has them."""


class MissingMetricError(StepError):
    """A metric that the gate needs and the model does not have; `metric` is its name."""

    def __init__(self, metric: str, metrics: Mapping[str, float]) -> None:
        found = ", ".join(name for name in metrics if name in METRICS) or "none"
        super().__init__(f"the gate needs the metric {metric}; the metrics of the model are: {found}")
        self.metric = metric


@dataclass(frozen=True)
class Verdict:
    """The decision of a gate.

    Args:
        passed: True if the model meets all conditions.
        comparison: the conditions that decided, such as `accuracy 0.967 > baseline 0.7`.
    """

    passed: bool
    comparison: str


def resolve_gate(gate: Gate | None, baseline: float | None = None) -> Gate:
    """Return the conditions of a step: those of `gate`, else the accuracy `baseline` that a model must exceed.

    Raises:
        StepError: A condition is invalid.
    """
    conditions = list(gate or [])
    if not conditions and baseline is not None:
        return [{"metric": "accuracy", "above": baseline}]
    for condition in conditions:
        if fault := condition_fault(condition):
            raise StepError(f"gate: {fault}")
    return conditions


def require_score(name: str, metrics: Mapping[str, float]) -> float:
    """Return the metric that is an output of the pipeline.

    Raises:
        StepError: The model has another task than the outputs of its pipeline say.
    """
    if name in metrics:
        return float(metrics[name])
    found = ", ".join(metric for metric in metrics if metric in METRICS) or "none"
    raise StepError(
        f"the model has no metric {name}, which is an output of the pipeline; its metrics are: {found}. Return "
        "DeploymentOutputs for a classification, RegressionOutputs for a regression, AnomalyOutputs for anomalies"
    )


def changed_answers(metrics: Mapping[str, float]) -> str:
    """Return a part of the decision on the answers that change with the new model; "" without a champion."""
    count = metrics.get(CHANGED_ANSWERS)
    return "" if count is None else f"; {count:.0f} of the champion's answers on the test rows change"


def judge(gate: Gate, metrics: Mapping[str, float]) -> Verdict:
    """Return whether a model with `metrics` passes the gate.

    Metrics with `CHAMPION_PREFIX` are those of the champion. Without them there is no champion to compare with.

    Raises:
        MissingMetricError: The model lacks a metric of the gate.
    """
    passed: list[str] = []
    failed: list[str] = []
    for condition in gate:
        name = condition["metric"]
        if name not in metrics:
            raise MissingMetricError(name, metrics)
        bounds = _bounds(condition, metrics)
        for against, bound in bounds.items():
            text = format_gate(metrics[name], bound, name, against)
            better = METRICS[name].better
            meets = metrics[name] > bound if better == "above" else metrics[name] < bound
            (passed if meets else failed).append(text if meets else f"{text}: not {better} it")
        if not bounds:
            passed.append(f"{name} {metrics[name]:.3g} without a champion to compare with")
    return Verdict(not failed, "; ".join(failed) or ", ".join(passed) or "no gate")


def _bounds(condition: Mapping[str, Any], metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the bounds of a condition by what they are."""
    bound = condition.get(METRICS[condition["metric"]].better)
    champion = metrics.get(CHAMPION_PREFIX + condition["metric"]) if condition.get(BETTER) else None
    bounds = {"baseline": bound, "champion": champion}
    return {against: float(value) for against, value in bounds.items() if value is not None}


def format_gate(value: float, bound: float, metric: str = "accuracy", against: str = "baseline") -> str:
    """Return a comparison such as `accuracy 0.967 > baseline 0.7`, with enough digits to show the larger number."""
    for digits in (3, 6, 17):
        left, right = f"{value:.{digits}g}", f"{bound:.{digits}g}"
        if (left == right) == (value == bound):
            break
    sign = ">" if value > bound else "<" if value < bound else "=" if value == bound else "against"
    return f"{metric} {left} {sign} {against} {right}"
