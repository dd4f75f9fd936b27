"""CSV or Parquet files, checked and split into training part and test part."""

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
    dask: dict = {},  # noqa: B006
) -> None:
    """Read CSV or Parquet files, encode them as numbers and split the rows 80/20, classes with equal shares.

    Memory does not grow with the rows: of a large table, the test part has at most 500,000 rows.

    The access token of the container is read from the environment variable AZURE_STORAGE_SAS_TOKEN.

    Args:
        train: Parquet with the encoded features and the target; `load_table` and `load_description` read it.
        test: The test part, in the same format.
        report: HTML page with the columns, their distributions and what is suspicious.
        target: Column with the classes, the numbers to predict, or the anomalies; all others are features.
        account_url: Address of an Azure storage account.
        container: Container of the storage account.
        blob: Path of the file in the container; a path that ends with / is a folder.
        data_url: Any fsspec address of a file or folder, used instead of the blob; it appears in logs, so it must not
            contain a token.
        csv_format: Separator, decimal and encoding of a CSV file, as far as they are not detected.
        seed: Seed of the split.
        columns: Types and missing values of columns, as far as they are not certain from the cells.
        task: classification, regression or anomaly; needed for a target of many numbers, and for anomalies.
        further_targets: Further columns with numbers that a regression predicts.
        dask: Workers that share the work, as the setting dask has them; empty for this process alone.
    """
    from pathlib import Path

    from workloads.ml.data.csv_reader import CsvFormat
    from workloads.ml.data.data_files import find_files
    from workloads.ml.data.data_report import data_page
    from workloads.ml.data.findings import find_suspicions
    from workloads.ml.data.scan.parts import write_parts
    from workloads.ml.data.scan.table_scan import TableScan, one_by_one
    from workloads.ml.data.scan.unit_reader import TableSource
    from workloads.ml.data.table_chunks import buffer_small_file
    from workloads.ml.data.target import parse_task
    from workloads.ml.training.dask_workers import dask_workers

    files = buffer_small_file(find_files(account_url, container, blob, data_url))
    targets = [target, *further_targets]
    source = TableSource(files, targets, parse_task(task), CsvFormat.from_mapping(csv_format), columns)
    with dask_workers(dask) as workers:
        scan = TableScan(source, workers.spread if workers else one_by_one)
        table = write_parts(scan, train.path, test.path, seed)
    about = scan.description
    count = len(about["features"]) + len(targets)
    classes = f"{len(about['classes'])} classes: {about['classes'][:20]}" if about["classes"] else f"numbers: {targets}"
    print(f"{about['rows']} rows and {count} columns from {about['source']}; {classes}")
    suspicions = find_suspicions(table)
    for line in [*table.decisions, *(f"warning: {suspicion}" for suspicion in suspicions)]:
        print(line)
    Path(report.path).write_text(data_page(table, suspicions))
    fingerprint = {"source": about["source"], "sha256": about["sha256"], "rows": about["rows"], "columns": count}
    for part in (train, test):
        part.metadata.update(fingerprint)
