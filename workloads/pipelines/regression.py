"""A regression on a CSV file, deployed if its metrics pass the gate."""

from typing import Any

from kfp import dsl

from workloads.components import load_component
from workloads.components.blocks.gated_deployment import RegressionOutputs, deploy_if_better

preprocess_data = load_component("preprocess_data")
train_model = load_component("train_model")


@dsl.pipeline(name="regression")
def regression(
    tracking_url: str,
    target: str,
    model_name: str,
    gate: list = [],  # noqa: B006
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    csv_format: dict = {},  # noqa: B006
    columns: dict = {},  # noqa: B006
    further_targets: list = [],  # noqa: B006
    estimator: str = "",
    parameters: dict = {},  # noqa: B006
    seed: int = 123,
    run_key: str = "",
) -> RegressionOutputs:
    """Preprocess, train and test; deploy the model if it passes the gate."""
    location = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    table = {"target": target, "further_targets": further_targets, "csv_format": csv_format, "columns": columns}
    preprocessed = preprocess_data(task="regression", **table, **location)
    data = preprocessed.set_caching_options(False).outputs  # the file at the address may have changed
    chosen = {"estimator": estimator, "parameters": parameters, "seed": seed}
    model = train_model(train=data["train"], model_name=model_name, **chosen).outputs["model"]
    options: dict[str, Any] = {"gate": gate, "model_name": model_name, "tracking_url": tracking_url}
    return deploy_if_better(
        model, data["test"], pipeline="regression", run_key=run_key, outputs=RegressionOutputs, **options
    )
