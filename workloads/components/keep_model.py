"""The gate's other branch: everything stays as it is."""

from typing import NamedTuple

from workloads.components import component


@component
def keep_model(
    accuracy: float,
    baseline: float,
    model_name: str,
) -> NamedTuple("Decision", [("deployed", bool), ("version", str), ("decision", str)]):  # type: ignore[valid-type]
    """Says why a model is not deployed.

    Args:
        accuracy: Of the new model, in [0, 1].
        baseline: What it would have to be above.
        model_name: The registered model.
    """
    from workloads.ml.gate import compared

    decision = f"{compared(accuracy, baseline)}: not above it, so {model_name} keeps the champion it has"
    print(decision)
    return (False, "", decision)
