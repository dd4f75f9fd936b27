"""Setting of the gate: the conditions that a new model has to meet before it becomes the champion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from settings.metrics import METRICS, condition_fault
from settings.types import Section

NUMBER, CONDITION, CONDITIONS = "<number>", "<condition>", "<conditions>"
"""Tags of the forms of a gate. Messages about settings leave out a part in angle brackets."""


class GateCondition(Section):
    """A condition on one metric of the tested model."""

    metric: str = Field(json_schema_extra={"enum": list(METRICS)})
    """Metric of the test step. `size` is in bytes; `latency` is in milliseconds for one row."""
    above: float | None = None
    """Value that the metric has to exceed; for accuracy, precision, recall, f1, roc_auc and r2."""
    below: float | None = None
    """Value that the metric has to stay under; for log_loss, rmse, mae, size and latency."""
    better_than_champion: bool = False
    """Require a better value than that of the champion on the same test rows. A first model has no champion and meets
    this condition."""

    @model_validator(mode="after")
    def _check(self) -> GateCondition:
        if fault := condition_fault(self.as_condition()):
            raise ValueError(fault)
        return self

    def as_condition(self) -> dict[str, Any]:
        """Return the condition without its empty keys, as pipelines receive it."""
        return {key: value for key, value in self.model_dump().items() if value is not None and value is not False}


def _form(gate: Any) -> str:
    if isinstance(gate, (dict, GateCondition)):
        return CONDITION
    return CONDITIONS if isinstance(gate, (list, tuple)) else NUMBER


def _check_accuracy(bound: Any) -> Any:
    fault = condition_fault({"metric": "accuracy", "above": bound})
    if isinstance(bound, bool) or (isinstance(bound, float) and fault):
        raise ValueError(fault)
    return bound


Accuracy = Annotated[float, BeforeValidator(_check_accuracy), AfterValidator(_check_accuracy)]
GateSetting = Annotated[
    Annotated[Accuracy, Tag(NUMBER)]
    | Annotated[GateCondition, Tag(CONDITION)]
    | Annotated[tuple[GateCondition, ...], Field(min_length=1), Tag(CONDITIONS)],
    Discriminator(_form),
]


def gate_conditions(gate: float | GateCondition | Sequence[GateCondition] | None) -> list[dict[str, Any]]:
    """Return the conditions of the setting `gate`; a number is the accuracy to exceed."""
    if gate is None:
        return []
    if isinstance(gate, (int, float)):
        return [{"metric": "accuracy", "above": gate}]
    conditions = [gate] if isinstance(gate, GateCondition) else gate
    return [condition.as_condition() for condition in conditions]
