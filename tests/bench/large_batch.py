"""Memory and speed of `batch-predict` for millions of rows: `python -m tests.bench.large_batch [ROWS]`.

The step runs in a second process, with the forest of the benchmark in a registry of MLflow.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from settings.paths import PROJECT
from tests.bench.forest import FEATURES, FLOWERS, train
from workloads.components.score_file import score_file
from workloads.ml import model_registry

ROWS = 10_000_000
WRITTEN_ROWS = 1_000_000


def flowers(rows: int) -> Iterator[pa.Table]:
    """Yield flowers with one decimal, and a key, in tables of at most `WRITTEN_ROWS` rows."""
    known = np.array(FLOWERS)
    random = np.random.default_rng(0)
    for first in range(0, rows, WRITTEN_ROWS):
        count = min(WRITTEN_ROWS, rows - first)
        drawn = random.uniform(known.min(axis=0), known.max(axis=0), (count, len(FEATURES))).round(1)
        yield pa.table([np.arange(first, first + count), *drawn.T], names=["id", *FEATURES])


def write_files(folder: Path, rows: int) -> list[Path]:
    """Write the flowers as CSV and as Parquet."""
    files = [folder / "flowers.csv", folder / "flowers.parquet"]
    schema = next(flowers(1)).schema
    with arrow_csv.CSVWriter(files[0], schema) as text, parquet.ParquetWriter(files[1], schema) as columns:
        for table in flowers(rows):
            text.write(table)
            columns.write(table)
    return files


def measure(tracking_url: str, file: str, destination: str) -> None:
    """Run the step in this process, and print its rows, seconds and largest resident memory in MiB."""
    predictions = SimpleNamespace(path=f"{file}.predictions", uri="", metadata={})
    start = time.perf_counter()
    rows, _ = score_file.python_func(
        predictions, "iris", "1", tracking_url, data_url=file, destination=destination, csv_format={}
    )
    seconds = time.perf_counter() - start
    # Not `getrusage`: its maximum includes the process that started this one.
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps([rows, seconds, int(peak) / 1024]))


def main(rows: int) -> None:
    """Print a table of all measurements."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tracking_url = f"sqlite:///{folder}/mlflow.db"
        forest = train(folder)
        with chdir(folder):  # MLflow stores the model below the working directory
            model_registry.register(tracking_url, forest.directory, "iris", {"accuracy": 1.0}, "bench", "bench")
        print("| input | rows | rows/s | memory, MiB |\n| --- | ---: | ---: | ---: |")
        for file in write_files(folder, rows):
            destination = f"{folder}/{file.suffix[1:]}-parts/"
            command = [sys.executable, "-m", "tests.bench.large_batch", tracking_url, str(file), destination]
            done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True)
            count, seconds, peak = json.loads(done.stdout.splitlines()[-1])
            kind = f"{file.suffix[1:]}, {file.stat().st_size >> 20} MiB"
            print(f"| {kind} | {count:,} | {count / seconds:,.0f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 4:
        measure(*sys.argv[1:])
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else ROWS)
