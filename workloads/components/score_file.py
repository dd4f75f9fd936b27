"""Batch prediction of a whole file with a registered model."""

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
) -> NamedTuple("Scored", [("rows", int), ("predictions_url", str)]):  # type: ignore[valid-type]
    """Predict every row of a CSV or Parquet file with a registered model; write the rows with class and probability.

    The access token of the container is read from the environment variable AZURE_STORAGE_SAS_TOKEN.

    Args:
        predictions: The CSV file with predictions.
        model_name: Name of the registered model.
        model_version: Version of the registered model.
        tracking_url: Address of MLflow.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the file in the container.
        data_url: Any fsspec address, used instead of the blob; it appears in logs, so it must not contain a token.
        target: Column that is dropped if it exists; empty for the target of the model.
        destination: Any fsspec address that receives a copy of the predictions; empty for none.
        csv_format: Separator, decimal and encoding of a CSV file, as far as they are not detected.
    """
    from pathlib import Path

    from workloads.ml import model_registry
    from workloads.ml.data.csv_reader import CsvFormat
    from workloads.ml.data.storage import read_data, write_data
    from workloads.ml.model import batch_scoring
    from workloads.ml.model.model_directory import sha256_hex

    content, source = read_data(account_url, container, blob, data_url)
    model = model_registry.fetch(tracking_url, model_name, model_version)
    scored, rows = batch_scoring.score(content, model, target, CsvFormat.from_mapping(csv_format))
    Path(predictions.path).write_bytes(scored)
    predictions.metadata.update({"rows": rows, "source": source, "source_sha256": sha256_hex(content)})
    if destination:
        write_data(destination, scored)
    print(f"{rows} rows of {source} scored with {model_name} version {model_version}")
    return (rows, predictions.uri)
