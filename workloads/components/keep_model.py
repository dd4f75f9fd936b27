"""The other branch of the gate: the champion stays."""

from typing import NamedTuple

from kfp.dsl import Input, Metrics

from workloads.components import component


@component
def keep_model(
    metrics: Input[Metrics],
    score: str,
    comparison: str,
    model_name: str,
) -> NamedTuple("Decision", [("score", float), ("deployed", bool), ("version", str), ("decision", str)]):  # type: ignore[valid-type]
    """Log the reason why a model is not deployed.

    Args:
        metrics: Metrics of test_model.
        score: Name of the metric that is returned as score.
        comparison: The conditions of the gate that the model does not meet, from test_model.
        model_name: Name of the registered model.
    """
    from workloads.ml.artifact_metadata import unwrap_kfp
    from workloads.ml.evaluation.verdict import require_score

    value = require_score(score, unwrap_kfp(metrics.metadata))
    decision = f"{comparison}, so {model_name} keeps the champion it has"
    print(decision)
    return (value, False, "", decision)
