"""An ONNX file of any other tool, tested on a table and deployed if its metrics pass the gate."""

from kfp import dsl

from workloads.components import load_component
from workloads.components.blocks.gated_deployment import DeploymentOutputs, deploy_if_better

preprocess_data = load_component("preprocess_data")
wrap_model = load_component("wrap_model")


@dsl.pipeline(name="foreign-model")
def foreign_model(
    tracking_url: str,
    model_name: str,
    onnx_url: str,
    target: str,
    outputs: dict,
    gate: list = [],  # noqa: B006
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    csv_format: dict = {},  # noqa: B006
    columns: dict = {},  # noqa: B006
    run_key: str = "",
) -> DeploymentOutputs:
    """Read the table and the classifier, test it, and deploy it if it passes the gate."""
    location = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    table = {"target": target, "csv_format": csv_format, "columns": columns, "task": "classification"}
    data = preprocess_data(**table, **location).set_caching_options(False).outputs
    wrapped = wrap_model(train=data["train"], onnx_url=onnx_url, outputs=outputs, model_name=model_name)
    model = wrapped.set_caching_options(False).outputs["model"]  # the file at the address may have changed
    return deploy_if_better(
        model,
        data["test"],
        model_name=model_name,
        tracking_url=tracking_url,
        gate=gate,
        pipeline="foreign-model",
        run_key=run_key,
    )
