"""Batch prediction of files with a registered model."""

from typing import NamedTuple

from kfp.dsl import Dataset, Output

from workloads.components import component


@component
def score_file(
    predictions: Output[Dataset],
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
    shard: int = 0,
    shards: int = 1,
    key: str = "",
) -> NamedTuple("Scored", [("rows", int), ("predictions_url", str)]):  # type: ignore[valid-type]
    """Predict every row of CSV or Parquet files with a registered model; write the rows with their predictions.

    The access token of the container is read from the environment variable AZURE_STORAGE_SAS_TOKEN.

    Args:
        predictions: The CSV file with predictions; of a destination that is a folder, a text with its address.
        model_name: Name of the registered model.
        model_version: Version of the registered model.
        tracking_url: Address of MLflow.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the file in the container; a path that ends with / is a folder.
        data_url: Any fsspec address of a file or folder, used instead of the blob; it appears in logs, so it must not
            contain a token.
        target: Column that is dropped if it exists; empty for the target of the model.
        destination: Any fsspec address that receives a copy of the predictions; an address that ends with / receives
            them in parts, and a later run with the same data and model completes them; empty for none.
        csv_format: Separator, decimal and encoding of a CSV file, as far as they are not detected.
        shard: Index of this step among the steps that share the data.
        shards: Number of steps that share the data; above 1, `plan_shards` runs before and `join_shards` afterwards.
        key: Digest of data and model from `plan_shards`.
    """
    from pathlib import Path

    from workloads.ml import model_registry
    from workloads.ml.batch.parts_folder import PartsFolder
    from workloads.ml.batch.scoring_run import ScoringRun
    from workloads.ml.data.csv_reader import CsvFormat
    from workloads.ml.data.data_files import find_files
    from workloads.ml.data.storage import without_secrets, write_data

    files = find_files(account_url, container, blob, data_url)
    model = model_registry.fetch(tracking_url, model_name, model_version)
    run = ScoringRun(files, model, target, CsvFormat.from_mapping(csv_format))
    path = Path(predictions.path)
    url = predictions.uri
    if shards > 1:
        run.require_key(key)
        rows = run.write_parts(PartsFolder(destination, key), shard, shards)
        path.write_text(f"shard {shard} of {shards}\n")
    elif destination.endswith("/"):
        url = without_secrets(destination)
        run.require_separate(destination)
        folder = PartsFolder(destination, run.key())
        folder.prepare()
        run.write_parts(folder)
        rows = folder.finish(len(run.units), {"model": model_name, "version": model_version, "source": run.source})
        path.write_text(f"{url}\n")
    else:
        if destination:
            run.require_separate(destination)
        rows = run.write_csv(path)
        if destination:
            write_data(destination, path)
    predictions.metadata.update({"rows": rows, "source": run.source, "source_version": run.version})
    print(f"{rows} rows of {run.source} scored with {model_name} version {model_version}")
    return (rows, url)
