"""A random forest on a CSV file, deployed if its accuracy passes the gate; only the defaults are about Iris."""

from typing import Any

from kfp import dsl

from workloads.components import load_component
from workloads.components.blocks.gated_deployment import DeploymentOutputs, deploy_if_better

preprocess_data = load_component("preprocess_data")
train_model = load_component("train_model")


@dsl.pipeline(name="iris-external")
def iris_external(
    tracking_url: str,
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    target: str = "species",
    baseline: float = 0.7,
    gate: list = [],  # noqa: B006
    model_name: str = "iris",
    trees: int = 100,
    seed: int = 123,
    run_key: str = "",
    csv_format: dict = {},  # noqa: B006
    columns: dict = {},  # noqa: B006
    dask: dict = {},  # noqa: B006
    task: str = "",
    estimator: str = "",
    parameters: dict = {},  # noqa: B006
) -> DeploymentOutputs:
    """Preprocess, train and test; deploy the model if it passes the gate."""
    location = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    format_and_types = {"csv_format": csv_format, "columns": columns, "task": task, "dask": dask}
    preprocessed = preprocess_data(target=target, **format_and_types, **location)
    data = preprocessed.set_caching_options(False).outputs  # the file at the address may have changed
    chosen = {"trees": trees, "seed": seed, "estimator": estimator, "parameters": parameters, "dask": dask}
    model = train_model(train=data["train"], model_name=model_name, **chosen).outputs["model"]
    options: dict[str, Any] = {"gate": gate, "baseline": baseline, "model_name": model_name, "run_key": run_key}
    return deploy_if_better(model, data["test"], pipeline="iris-external", tracking_url=tracking_url, **options)
