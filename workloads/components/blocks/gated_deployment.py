"""The gate of a pipeline: deploys a model whose accuracy is above the baseline, and keeps the champion otherwise."""

from typing import Any, NamedTuple

from kfp import dsl

from workloads.components import load_component

deploy_model = load_component("deploy_model")
keep_model = load_component("keep_model")


class DeploymentOutputs(NamedTuple):
    """Outputs of a pipeline that ends with the gate; `version` is empty if the model was not deployed."""

    accuracy: float
    deployed: bool
    version: str
    decision: str


def deploy_if_better(
    model: Any, tested: Any, *, baseline: Any, model_name: Any, tracking_url: Any, pipeline: str, run_key: Any
) -> DeploymentOutputs:
    """Add the gate to the pipeline that is being defined.

    Args:
        model: The model directory, an output of the training step.
        tested: The task of `test_model`.
        baseline: Accuracy in [0, 1] that the model must exceed.
        model_name: Name of the registered model.
        tracking_url: Address of MLflow.
        pipeline: Name of the pipeline, which is the MLflow experiment.
        run_key: The pipeline's parameter `run_key`.

    Returns:
        The outputs of the pipeline.
    """
    accuracy = tested.outputs["Output"]
    with dsl.If(accuracy > baseline):
        deployed = deploy_model(
            model=model,
            metrics=tested.outputs["metrics"],
            baseline=baseline,
            model_name=model_name,
            tracking_url=tracking_url,
            pipeline=pipeline,
            run_key=run_key,
        ).outputs
    with dsl.Else():
        kept = keep_model(accuracy=accuracy, baseline=baseline, model_name=model_name).outputs
    decision = {name: dsl.OneOf(deployed[name], kept[name]) for name in ("deployed", "version", "decision")}
    return DeploymentOutputs(accuracy=accuracy, **decision)
