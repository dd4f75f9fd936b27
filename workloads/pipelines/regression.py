"""A regression on a CSV file, deployed if its metrics pass the gate."""

from kfp import dsl

from workloads.components.blocks.estimator_deployment import deploy_estimator
from workloads.components.blocks.gated_deployment import RegressionOutputs


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
    dask: dict = {},  # noqa: B006
    further_targets: list = [],  # noqa: B006
    estimator: str = "",
    parameters: dict = {},  # noqa: B006
    seed: int = 123,
    run_key: str = "",
) -> RegressionOutputs:
    """Preprocess, train and test; deploy the model if it passes the gate."""
    location = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    table = {
        "target": target,
        "further_targets": further_targets,
        "csv_format": csv_format,
        "columns": columns,
        "dask": dask,
    }
    return deploy_estimator(
        "regression",
        RegressionOutputs,
        data={**table, **location},
        estimator={"estimator": estimator, "parameters": parameters, "seed": seed, "dask": dask},
        pipeline="regression",
        model_name=model_name,
        tracking_url=tracking_url,
        gate=gate,
        run_key=run_key,
    )
