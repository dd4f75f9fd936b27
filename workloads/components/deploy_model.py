"""Registration of a model directory as the champion of a registered model."""

from typing import NamedTuple, Optional

from kfp.dsl import Input, Metrics, Model

from workloads.components import component


@component
def deploy_model(
    model: Input[Model],
    metrics: Input[Metrics],
    score: str,
    model_name: str,
    tracking_url: str,
    pipeline: str,
    gate: list = [],  # noqa: B006
    baseline: Optional[float] = None,  # noqa: UP045
    run_key: str = "",
) -> NamedTuple("Decision", [("score", float), ("deployed", bool), ("version", str), ("decision", str)]):  # type: ignore[valid-type]
    """Register a model that passes the gate in MLflow and give it the alias champion.

    A model that does not pass is not registered. Without a gate, the version gets no alias here: the platform decides.

    Args:
        model: The model directory.
        metrics: Metrics of test_model.
        score: Name of the metric that is returned as score.
        model_name: Name of the registered model.
        tracking_url: Address of MLflow.
        pipeline: Name of the pipeline, which is the MLflow experiment.
        gate: Conditions that the model has to meet, as the setting gate has them.
        baseline: The accuracy to exceed, if gate is empty.
        run_key: Key of the pipeline run, which finds its experiment run; empty to create an experiment run.
    """
    from pathlib import Path

    from workloads.ml.artifact_metadata import unwrap_kfp
    from workloads.ml.evaluation.verdict import changed_answers, judge, require_score, resolve_gate
    from workloads.ml.model_registry import register

    measured = unwrap_kfp(metrics.metadata)
    value = require_score(score, measured)
    conditions = resolve_gate(gate, baseline)
    verdict = judge(conditions, measured)
    if verdict.passed:
        version = register(
            tracking_url, Path(model.path), model_name, measured, pipeline, run_key, champion=bool(conditions)
        )
        state = "champion" if conditions else "registered"
        decision = f"{verdict.comparison}: {model_name} version {version} is {state}{changed_answers(measured)}"
    else:
        version = ""
        decision = f"{verdict.comparison}, so {model_name} keeps the champion it has"
    print(decision)
    return (value, verdict.passed, version, decision)
