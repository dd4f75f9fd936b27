"""Plan of a batch prediction that several steps share."""

from typing import NamedTuple

from workloads.components import component


@component
def plan_shards(
    shards: int,
    destination: str,
    model_name: str,
    model_version: str,
    tracking_url: str,
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    target: str = "",
    csv_format: dict = {},  # noqa: B006
) -> NamedTuple("Plan", [("shards", list), ("units", int), ("key", str), ("source", str)]):  # type: ignore[valid-type]
    """Return one number for each shard; claim the destination for this data and model.

    Args:
        shards: Number of steps that share the data.
        destination: Any fsspec address of a folder, with / at its end.
        model_name: Name of the registered model.
        model_version: Version of the registered model.
        tracking_url: Address of MLflow.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the file in the container; a path that ends with / is a folder.
        data_url: Any fsspec address of a file or folder, used instead of the blob.
        target: Column that is dropped if it exists; empty for the target of the model.
        csv_format: Separator, decimal and encoding of a CSV file, as far as they are not detected.
    """
    from workloads.ml import model_registry
    from workloads.ml.batch.parts_folder import PartsFolder
    from workloads.ml.batch.scoring_run import ScoringRun
    from workloads.ml.data.csv_reader import CsvFormat
    from workloads.ml.data.data_files import find_files

    files = find_files(account_url, container, blob, data_url)
    model = model_registry.fetch(tracking_url, model_name, model_version)
    run = ScoringRun(files, model, target, CsvFormat.from_mapping(csv_format))
    run.require_shards(shards, destination)
    run.require_separate(destination)
    key = run.key()
    PartsFolder(destination, key).prepare()
    print(f"{len(run.units)} units of {run.source} for {shards} shards")
    return (list(range(shards)), len(run.units), key, run.source)
