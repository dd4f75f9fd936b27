"""A CSV or Parquet file, checked and split into training part and test part."""

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
    csv_format: dict = {},  # noqa: B006
    seed: int = 0,
) -> None:
    """Read a CSV or Parquet file, encode the target column as class indices and split the rows 80/20 within each class.

    The access token of the container is read from the environment variable AZURE_STORAGE_SAS_TOKEN.

    Args:
        train: Parquet with the features and the class index; `table.load_table` and `table.load_description` read it.
        test: The test part, in the same format.
        target: Column with the classes; all others are features.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the file in the container.
        data_url: Any fsspec address, used instead of the blob; it appears in logs, so it must not contain a token.
        csv_format: Separator, decimal and encoding of a CSV file, as far as they are not detected.
        seed: Seed of the split.
    """
    from workloads.ml.data import table
    from workloads.ml.data.csv_reader import CsvFormat
    from workloads.ml.data.storage import read_data
    from workloads.ml.data.table import save_table

    content, source = read_data(account_url, container, blob, data_url)
    parsed = table.parse(content, target, source, CsvFormat.from_mapping(csv_format))
    rows, columns = len(parsed.labels), len(parsed.features) + 1
    fingerprint = {"source": source, "sha256": parsed.sha256, "rows": rows, "columns": columns}
    print(f"{rows} rows and {columns} columns from {source}; {len(parsed.classes)} classes: {parsed.classes[:20]}")
    for part, mask in zip((train, test), table.split(parsed.labels, seed), strict=True):
        save_table(part.path, parsed, mask)
        part.metadata.update(fingerprint)
