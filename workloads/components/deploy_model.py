"""Registration of a model directory as the champion of a registered model."""

from typing import NamedTuple

from kfp.dsl import Input, Metrics, Model

from workloads.components import component


@component
def deploy_model(
    model: Input[Model],
    metrics: Input[Metrics],
    baseline: float,
    model_name: str,
    tracking_url: str,
    pipeline: str,
    run_key: str = "",
) -> NamedTuple("Decision", [("deployed", bool), ("version", str), ("decision", str)]):  # type: ignore[valid-type]
    """Register the model in MLflow and give it the alias champion.

    Args:
        model: The model directory.
        metrics: Metrics of test_model.
        baseline: The accuracy that the model exceeds, in [0, 1].
        model_name: Name of the registered model.
        tracking_url: Address of MLflow.
        pipeline: Name of the pipeline, which is the MLflow experiment.
        run_key: Key of the pipeline run, which finds its experiment run; empty to create an experiment run.
    """
    from pathlib import Path

    from workloads.ml.artifact_metadata import unwrap_kfp
    from workloads.ml.evaluation.gate import format_gate
    from workloads.ml.model_registry import register

    scores = unwrap_kfp(metrics.metadata)
    version = register(tracking_url, Path(model.path), model_name, scores, pipeline, run_key)
    decision = f"{format_gate(scores['accuracy'], baseline)}: {model_name} version {version} is champion"
    print(decision)
    return (True, version, decision)
