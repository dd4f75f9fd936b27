"""Batch prediction of files with a registered model, in one step or in shards."""

from typing import NamedTuple

from kfp import dsl

from workloads.components import load_component

score_file = load_component("score_file")
plan_shards = load_component("plan_shards")
join_shards = load_component("join_shards")

SHARD_RETRIES = 2
"""A shard that ends early, such as by the loss of its pod, runs again alone and goes on at its first missing part."""


class PredictionOutputs(NamedTuple):
    """Number of rows, and the address of the file or folder with predictions."""

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
    shards: int = 1,
) -> PredictionOutputs:
    """Predict every row of a file or folder with a registered model."""
    model = {"model_name": model_name, "model_version": model_version}
    data = {"account_url": account_url, "container": container, "blob": blob, "data_url": data_url}
    given = {**model, **data, "tracking_url": tracking_url, "target": target, "csv_format": csv_format}
    # No step is cached: the files at the addresses may have changed.
    with dsl.If(shards == 1):
        whole = score_file(destination=destination, **given).set_caching_options(False).outputs
    with dsl.Else():
        planned = plan_shards(shards=shards, destination=destination, **given).set_caching_options(False).outputs
        with dsl.ParallelFor(planned["shards"]) as shard:
            share = {"shard": shard, "shards": shards, "key": planned["key"]}
            scored = score_file(destination=destination, **share, **given).set_caching_options(False)
            scored.set_retry(num_retries=SHARD_RETRIES)
        joined = (
            join_shards(
                scored=dsl.Collected(scored.outputs["rows"]),
                units=planned["units"],
                key=planned["key"],
                source=planned["source"],
                destination=destination,
                **model,
            )
            .set_caching_options(False)
            .outputs
        )
    decided = [dsl.OneOf(whole[name], joined[name]) for name in ("rows", "predictions_url")]
    return PredictionOutputs(*decided)
