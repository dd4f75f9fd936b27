"""The best of several regressions on a CSV file, deployed if its metrics pass the gate."""

from kfp import dsl

from workloads.components.blocks.gated_deployment import RegressionOutputs
from workloads.components.blocks.tuned_deployment import deploy_tuned


@dsl.pipeline(name="tuned-regression")
def tuned_regression(
    tracking_url: str,
    target: str,
    model_name: str,
    tune: dict = {},  # noqa: B006
    gate: list = [],  # noqa: B006
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    csv_format: dict = {},  # noqa: B006
    columns: dict = {},  # noqa: B006
    seed: int = 123,
    run_key: str = "",
) -> RegressionOutputs:
    """Preprocess, search, train the best and test it; deploy the model if it passes the gate."""
    location = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    return deploy_tuned(
        pipeline="tuned-regression",
        task="regression",
        outputs=RegressionOutputs,
        table={"target": target, "csv_format": csv_format, "columns": columns, **location},
        search={"tune": tune, "seed": seed},
        gate=gate,
        registry={"model_name": model_name, "tracking_url": tracking_url, "run_key": run_key},
    )
