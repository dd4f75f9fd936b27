"""The other branch of the gate: the champion stays."""

from typing import NamedTuple

from workloads.components import component


@component
def keep_model(
    accuracy: float,
    baseline: float,
    model_name: str,
) -> NamedTuple("Decision", [("deployed", bool), ("version", str), ("decision", str)]):  # type: ignore[valid-type]
    """Log the reason why a model is not deployed.

    Args:
        accuracy: Accuracy of the new model, in [0, 1].
        baseline: Accuracy that a model must exceed to be deployed, in [0, 1].
        model_name: Name of the registered model.
    """
    from workloads.ml.evaluation.gate import format_gate

    decision = f"{format_gate(accuracy, baseline)}: not above it, so {model_name} keeps the champion it has"
    print(decision)
    return (False, "", decision)
