"""A registered model answers a whole file."""

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
) -> NamedTuple("Scored", [("rows", int), ("predictions_url", str)]):  # type: ignore[valid-type]
    """Scores a CSV file with a registered model and writes its rows with class and probability.

    The key of the storage account comes from the environment variable AZURE_STORAGE_KEY.

    Args:
        predictions: The answered CSV file.
        model_name: The registered model.
        model_version: Its version.
        tracking_url: Address of MLflow.
        account_url: Address of an Azure storage account.
        container: Container in it.
        blob: The CSV file in that.
        data_url: Any fsspec address, in place of the blob; it stands in logs, so no token belongs in it.
        target: A column that is left out if it is there; empty for the one that the model was trained to tell.
        destination: Any fsspec address to write the answers to as well.
    """
    from pathlib import Path

    from workloads.ml import batch, registry, storage
    from workloads.ml.model import digest

    content, source = storage.read(account_url, container, blob, data_url)
    model = registry.fetch(tracking_url, model_name, model_version)
    answers, rows = batch.score(content, model, target)
    Path(predictions.path).write_bytes(answers)
    predictions.metadata.update({"rows": rows, "source": source, "source_sha256": digest(content)})
    if destination:
        storage.write(destination, answers)
    print(f"{rows} rows of {source} scored with {model_name} version {model_version}")
    return (rows, predictions.uri)
