"""A model directory becomes the champion of a registered model."""

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
    """Registers the model in MLflow and gives it the alias champion.

    Args:
        model: The model directory.
        metrics: What test_model found.
        baseline: The accuracy that it is better than.
        model_name: The registered model.
        tracking_url: Address of MLflow.
        pipeline: The MLflow experiment.
        run_key: The pipeline run that the experiment run belongs to; empty for one of its own.
    """
    from pathlib import Path

    from workloads.ml.gate import compared
    from workloads.ml.metadata import plain
    from workloads.ml.registry import register

    found = plain(metrics.metadata)
    version = register(tracking_url, Path(model.path), model_name, found, pipeline, run_key)
    decision = f"{compared(found['accuracy'], baseline)}: {model_name} version {version} is champion"
    print(decision)
    return (True, version, decision)
