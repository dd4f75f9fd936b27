"""A CSV file, checked and split."""

from kfp.dsl import Dataset, Output

from workloads.components import component


@component
def preprocess_data(
    train: Output[Dataset],
    test: Output[Dataset],
    target: str,
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    seed: int = 0,
) -> None:
    """Reads a CSV file, label-encodes the target column and splits the rows 80/20 in each class.

    The key of the storage account comes from the environment variable AZURE_STORAGE_KEY.

    Args:
        train: CSV with the features and the index of the class; its metadata tell names, classes and the fingerprint.
        test: The same for the test part.
        target: The column that holds the classes; all others are features.
        account_url: Address of an Azure storage account.
        container: Container in it.
        blob: The CSV file in that.
        data_url: Any fsspec address, in place of the blob; it stands in logs, so no token belongs in it.
        seed: Of the split.
    """
    from workloads.ml import model, storage, table

    content, source = storage.read(account_url, container, blob, data_url)
    whole = table.parse(content, target)
    about = {
        "source": source,
        "sha256": model.digest(content),
        "rows": len(whole.labels),
        "columns": len(whole.features) + 1,
        "features": whole.features,
        "target": whole.target,
        "classes": whole.classes,
    }
    print(f"{about['rows']} rows and {about['columns']} columns from {source}; classes: {', '.join(whole.classes)}")
    for part, rows in zip((train, test), table.split(whole.labels, seed), strict=True):
        table.save(part.path, whole, rows)
        part.metadata.update(about)
