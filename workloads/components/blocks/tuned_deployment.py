"""The whole pipeline around a search: preprocess a CSV file, train the best estimator, and pass it through the gate."""

from collections.abc import Mapping
from typing import Any

from workloads.components import load_component
from workloads.components.blocks.gated_deployment import deploy_if_better
from workloads.components.blocks.tuned_training import train_tuned

preprocess_data = load_component("preprocess_data")


def deploy_tuned(
    *,
    pipeline: str,
    task: str,
    outputs: type[Any],
    table: Mapping[str, Any],
    search: Mapping[str, Any],
    gate: Any,
    registry: Mapping[str, Any],
) -> Any:
    """Add preprocessing, search, training, test and gate to the pipeline that is being defined.

    Args:
        pipeline: Name of the pipeline, which is the MLflow experiment.
        task: `classification` or `regression`.
        outputs: `DeploymentOutputs` for a classification, `RegressionOutputs` for a regression.
        table: The pipeline's parameters of `preprocess_data`.
        search: The pipeline's parameters `tune` and `seed`.
        gate: The pipeline's parameter `gate`.
        registry: The pipeline's parameters `model_name`, `tracking_url` and `run_key`.

    Returns:
        The outputs of the pipeline.
    """
    preprocessed = preprocess_data(task=task, **table)
    data = preprocessed.set_caching_options(False).outputs  # the file at the address may have changed
    model = train_tuned(data["train"], pipeline=pipeline, **search, **registry)
    return deploy_if_better(model, data["test"], pipeline=pipeline, gate=gate, outputs=outputs, **registry)
