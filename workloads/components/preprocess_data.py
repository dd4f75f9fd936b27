"""A CSV file, checked and split into training part and test part."""

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
    """Read a CSV file, encode the target column as class indices and split the rows 80/20 within each class.

    The key of the storage account is read from the environment variable AZURE_STORAGE_KEY.

    Args:
        train: CSV with the features and the class index; its metadata hold names, classes and the fingerprint.
        test: The test part, in the same format.
        target: Column with the classes; all others are features.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the CSV file in the container.
        data_url: Any fsspec address, used instead of the blob; it appears in logs, so it must not contain a token.
        seed: Seed of the split.
    """
    from workloads.ml.data import storage, table
    from workloads.ml.model import model_directory

    content, source = storage.read(account_url, container, blob, data_url)
    parsed = table.parse(content, target)
    about = {
        "source": source,
        "sha256": model_directory.digest(content),
        "rows": len(parsed.labels),
        "columns": len(parsed.features) + 1,
        "features": parsed.features,
        "target": parsed.target,
        "classes": parsed.classes,
    }
    print(f"{about['rows']} rows and {about['columns']} columns from {source}; classes: {', '.join(parsed.classes)}")
    for part, rows in zip((train, test), table.split(parsed.labels, seed), strict=True):
        table.save(part.path, parsed, rows)
        part.metadata.update(about)
