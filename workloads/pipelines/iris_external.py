"""A random forest on a CSV file, deployed if its accuracy passes the gate; only the defaults are about Iris."""

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
) -> DeploymentOutputs:
    """Preprocess, train and test; deploy the model if it passes the gate."""
    location = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    preprocessed = preprocess_data(target=target, csv_format=csv_format, **location)
    data = preprocessed.set_caching_options(False).outputs  # the file at the address may have changed
    model = train_model(train=data["train"], model_name=model_name, trees=trees, seed=seed).outputs["model"]
    conditions = {"gate": gate, "baseline": baseline}
    registry = {"model_name": model_name, "tracking_url": tracking_url, "run_key": run_key}
    return deploy_if_better(model, data["test"], pipeline="iris-external", **conditions, **registry)
