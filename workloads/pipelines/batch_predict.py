"""Batch prediction of a whole file with a registered model."""

from typing import NamedTuple

from kfp import dsl

from workloads.components import load_component

score_file = load_component("score_file")


class PredictionOutputs(NamedTuple):
    """Number of rows, and the address of the file with predictions."""

    rows: int
    predictions: str


@dsl.pipeline(name="batch-predict")
def batch_predict(
    model_name: str,
    model_version: str,
    tracking_url: str,
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    target: str = "",
    destination: str = "",
    csv_format: dict = {},  # noqa: B006
) -> PredictionOutputs:
    """Predict every row of a file with a registered model."""
    task = score_file(
        model_name=model_name,
        model_version=model_version,
        tracking_url=tracking_url,
        account_url=account_url,
        container=container,
        blob=blob,
        data_url=data_url,
        target=target,
        destination=destination,
        csv_format=csv_format,
    )
    task.set_caching_options(False)  # the file at the address may have changed
    scored = task.outputs
    return PredictionOutputs(scored["rows"], scored["predictions_url"])
