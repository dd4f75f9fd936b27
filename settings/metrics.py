"""Metrics that a gate can name, and the rules of its conditions. Steps of pipelines import this module too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["above", "below"]

CLASSIFICATION, REGRESSION, ANOMALY = "classification", "regression", "anomaly"
BETTER = "better_than_champion"
CONDITION_KEYS = ("metric", "above", "below", BETTER)


@dataclass(frozen=True)
class Metric:
    """A metric of a tested model.

    Args:
        better: the direction of better values: a gate on the metric bounds it in this direction.
        tasks: the kinds of models that have the metric.
        largest: the largest possible value.
        smallest: the smallest possible value.
    """

    better: Direction
    tasks: tuple[str, ...]
    largest: float = math.inf
    smallest: float = 0.0


METRICS = {
    "accuracy": Metric("above", (CLASSIFICATION,), 1),
    "precision": Metric("above", (CLASSIFICATION, ANOMALY), 1),
    "recall": Metric("above", (CLASSIFICATION, ANOMALY), 1),
    "f1": Metric("above", (CLASSIFICATION, ANOMALY), 1),
    "roc_auc": Metric("above", (CLASSIFICATION, ANOMALY), 1),
    "log_loss": Metric("below", (CLASSIFICATION,)),
    "rmse": Metric("below", (REGRESSION,)),
    "mae": Metric("below", (REGRESSION,)),
    "r2": Metric("above", (REGRESSION,), 1, -math.inf),
    "size": Metric("below", (CLASSIFICATION, REGRESSION, ANOMALY)),
    "latency": Metric("below", (CLASSIFICATION, REGRESSION, ANOMALY)),
}
"""Metrics by name: `size` of the model in bytes, `latency` of one row in milliseconds."""
COSTS = ("size", "latency")
"""Metrics that do not depend on the model's answers."""
MAIN_METRICS = {CLASSIFICATION: "accuracy", REGRESSION: "rmse", ANOMALY: "f1"}
"""Metric by which a model of a task is known: a tag of its versions, and an output of its pipeline."""


def metrics_of(task: str) -> list[str]:
    """Return the names of the metrics that models of a task have."""
    return [name for name, metric in METRICS.items() if task in metric.tasks]


def condition_fault(condition: Mapping[str, Any]) -> str | None:
    """Return the fault of a gate's condition, None for a valid one. A key without a value counts as absent."""
    given = {key: value for key, value in condition.items() if value is not None}
    if unknown := sorted(given.keys() - set(CONDITION_KEYS)):
        return f"a condition has no {', '.join(unknown)}; it has: {', '.join(CONDITION_KEYS)}"
    name = given.get("metric")
    if name is None:
        return f"a condition needs a metric: {', '.join(METRICS)}"
    if name not in METRICS:
        return f"there is no metric {name}; the metrics are: {', '.join(METRICS)}"
    metric = METRICS[name]
    wrong: Direction = "below" if metric.better == "above" else "above"
    if wrong in given:
        adjective = "larger" if metric.better == "above" else "smaller"
        return f"{name} is better if it is {adjective}: write {metric.better} instead of {wrong}"
    bound = given.get(metric.better)
    if bound is None:
        needed = f"a condition on {name} needs {metric.better} with a number, {BETTER}: true, or both"
        return None if given.get(BETTER) else needed
    if isinstance(bound, bool) or not isinstance(bound, (int, float)) or not math.isfinite(bound):
        return f"{metric.better} has to be a number, not {bound!r}"
    if metric.better == "above" and bound > metric.largest:
        return f"{name} is at most {metric.largest:g}, so no model is above {bound:g}"
    if metric.better == "below" and bound <= metric.smallest:
        return f"{name} is at least {metric.smallest:g}, so no model is below {bound:g}"
    return None


def describe_gate(conditions: Iterable[Mapping[str, Any]]) -> str:
    """Return a gate as text, such as `accuracy above 0.7 and better than the champion`; `none` without conditions."""
    return ", ".join(_describe_condition(condition) for condition in conditions) or "none"


def _describe_condition(condition: Mapping[str, Any]) -> str:
    better = METRICS[condition["metric"]].better
    bound = condition.get(better)
    parts = [] if bound is None else [f"{better} {bound:.12g}"]
    parts += ["better than the champion"] if condition.get(BETTER) else []
    return f"{condition['metric']} {' and '.join(parts)}"
