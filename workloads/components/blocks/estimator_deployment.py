"""The whole way of one estimator: data, training, test and gate."""

from collections.abc import Mapping
from typing import Any

from workloads.components import load_component
from workloads.components.blocks.gated_deployment import deploy_if_better

preprocess_data = load_component("preprocess_data")
train_model = load_component("train_model")


def deploy_estimator(
    task: str, outputs: type[Any], *, data: Mapping[str, Any], estimator: Mapping[str, Any], **options: Any
) -> Any:
    """Add preprocessing, training, test and gate to the pipeline that is being defined.

    Args:
        task: The task of the model.
        outputs: Outputs of the pipeline, as `deploy_if_better` takes them.
        data: Arguments of preprocess_data.
        estimator: Arguments of train_model.
        options: Arguments of `deploy_if_better`.

    Returns:
        The outputs of the pipeline.
    """
    # The file at the address may have changed.
    parts = preprocess_data(task=task, **data).set_caching_options(False).outputs
    model = train_model(train=parts["train"], model_name=options["model_name"], **estimator).outputs["model"]
    return deploy_if_better(model, parts["test"], outputs=outputs, **options)
