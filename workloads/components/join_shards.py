"""Manifest of a batch prediction that several steps shared."""

from typing import NamedTuple

from workloads.components import component


@component
def join_shards(
    scored: list,
    units: int,
    key: str,
    source: str,
    destination: str,
    model_name: str,
    model_version: str,
) -> NamedTuple("Joined", [("rows", int), ("predictions_url", str)]):  # type: ignore[valid-type]
    """Write the manifest of all parts.

    Args:
        scored: Number of rows that each shard predicted in this run.
        units: Number of units of the data, from `plan_shards`.
        key: Digest of data and model, from `plan_shards`.
        source: Address of the data without secrets.
        destination: Any fsspec address of the folder of parts.
        model_name: Name of the registered model.
        model_version: Version of the registered model.
    """
    from workloads.ml.batch.parts_folder import PartsFolder
    from workloads.ml.data.storage import without_secrets

    about = {"model": model_name, "version": model_version, "source": source}
    rows = PartsFolder(destination, key).finish(units, about)
    print(
        f"{rows} rows of {source} scored with {model_name} version {model_version}; {sum(scored)} of them in this run"
    )
    return (rows, without_secrets(destination))
