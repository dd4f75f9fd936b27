"""The best of several estimators on a CSV file, deployed if its accuracy passes the gate."""

from typing import Any

from kfp import dsl

from workloads.components import load_component
from workloads.components.blocks.gated_deployment import DeploymentOutputs, deploy_if_better
from workloads.components.blocks.tuned_training import train_tuned

preprocess_data = load_component("preprocess_data")


@dsl.pipeline(name="tuned")
def tuned(
    tracking_url: str,
    target: str,
    model_name: str,
    data_url: str,
    tune: dict = {},  # noqa: B006
    gate: list = [],  # noqa: B006
    columns: dict = {},  # noqa: B006
    seed: int = 123,
    run_key: str = "",
) -> DeploymentOutputs:
    """Preprocess, search, train the best and test it; deploy the model if it passes the gate."""
    read = preprocess_data(data_url=data_url, target=target, columns=columns, task="classification")
    data = read.set_caching_options(False).outputs  # the file at the address may have changed
    registry: dict[str, Any] = {"model_name": model_name, "tracking_url": tracking_url, "run_key": run_key}
    about = {"pipeline": "tuned", **registry}
    model = train_tuned(data["train"], tune=tune, seed=seed, **about)
    return deploy_if_better(model, data["test"], gate=gate, **about)
