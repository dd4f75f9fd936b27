"""A CSV or Parquet file, checked and split into training part and test part."""

from kfp.dsl import HTML, Dataset, Output

from workloads.components import component


@component
def preprocess_data(
    train: Output[Dataset],
    test: Output[Dataset],
    report: Output[HTML],
    target: str,
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    csv_format: dict = {},  # noqa: B006
    seed: int = 0,
    columns: dict = {},  # noqa: B006
    task: str = "",
    further_targets: list = [],  # noqa: B006
) -> None:
    """Read a CSV or Parquet file, encode it as numbers and split the rows 80/20, classes with equal shares.

    The access token of the container is read from the environment variable AZURE_STORAGE_SAS_TOKEN.

    Args:
        train: Parquet with the encoded features and the target; `load_table` and `load_description` read it.
        test: The test part, in the same format.
        report: HTML page with the columns, their distributions and what is suspicious.
        target: Column with the classes, the numbers to predict, or the anomalies; all others are features.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the file in the container.
        data_url: Any fsspec address, used instead of the blob; it appears in logs, so it must not contain a token.
        csv_format: Separator, decimal and encoding of a CSV file, as far as they are not detected.
        seed: Seed of the split.
        columns: Types and missing values of columns, as far as they are not certain from the cells.
        task: classification, regression or anomaly; needed for a target of many numbers, and for anomalies.
        further_targets: Further columns with numbers that a regression predicts.
    """
    from pathlib import Path

    from workloads.ml.data import table
    from workloads.ml.data.csv_reader import CsvFormat
    from workloads.ml.data.data_report import data_page
    from workloads.ml.data.findings import find_suspicions
    from workloads.ml.data.storage import read_data
    from workloads.ml.data.table import save_table

    content, source = read_data(account_url, container, blob, data_url)
    targets = [target, *further_targets]
    parsed = table.parse(content, targets, source, CsvFormat.from_mapping(csv_format), columns, task)
    rows, count = len(parsed.labels), len(parsed.features) + len(targets)
    fingerprint = {"source": source, "sha256": parsed.sha256, "rows": rows, "columns": count}
    classes = f"{len(parsed.classes)} classes: {parsed.classes[:20]}" if parsed.classes else f"numbers: {targets}"
    print(f"{rows} rows and {count} columns from {source}; {classes}")
    suspicions = find_suspicions(parsed)
    for line in [*parsed.decisions, *(f"warning: {suspicion}" for suspicion in suspicions)]:
        print(line)
    Path(report.path).write_text(data_page(parsed, suspicions))
    for part, mask in zip((train, test), table.split(parsed.labels, seed), strict=True):
        save_table(part.path, parsed, mask)
        part.metadata.update(fingerprint)
