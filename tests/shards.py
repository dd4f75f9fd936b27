"""Batch prediction in shards on a cluster: files in an S3 store of this computer, and what one process predicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from infra.kubernetes_client.client import KubernetesClient
from settings.services.s3_settings import DataStoreSettings
from tests.store_servers import S3_KEY, S3_USER, s3_client
from workloads.ml import model_registry
from workloads.ml.batch.parts_folder import PartsFolder
from workloads.ml.batch.scoring_run import ScoringRun
from workloads.ml.data.csv_reader import CsvFormat
from workloads.ml.data.data_files import find_files
from workloads.runs.step_credentials import s3_variables

BUCKET = "numbers"
SHARDS = 3
ROWS = 400_000
"""Rows of each file: a shard runs long enough to lose its pod."""
MODEL = "iris"


def login(url: str) -> dict[str, str]:
    """Return the environment variables of the steps of a stack with the store in its settings."""
    store = {"endpoint_url": url, "access_key": S3_USER, "secret_key": S3_KEY}
    return s3_variables(DataStoreSettings.model_validate(store))


def write_files(url: str, columns: list[str], folder: Path) -> None:
    """Write a CSV file for each shard, here and to `data/` of the store."""
    folder.mkdir()
    for number in range(SHARDS):
        values = np.random.default_rng(number).uniform(0, 8, (ROWS, len(columns))).round(2)
        table = pd.DataFrame(values, columns=columns)
        table.insert(0, "key", np.arange(number * ROWS, (number + 1) * ROWS))
        table.to_csv(folder / f"{number}.csv", index=False)
        s3_client(url).upload_file(str(folder / f"{number}.csv"), BUCKET, f"data/{number}.csv")


def arguments(tracking_url: str, version: str, destination: str) -> dict[str, Any]:
    """Return the arguments of the pipeline `batch-predict`."""
    return {
        "model_name": MODEL,
        "model_version": version,
        "tracking_url": tracking_url,
        "data_url": f"s3://{BUCKET}/data/",
        "destination": f"s3://{BUCKET}/{destination}/",
        "shards": SHARDS,
    }


def digests_of_one_process(tracking_url: str, version: str, data: Path, destination: Path) -> dict[str, str]:
    """Predict the files in this process, and return the digest of each part by its name without the key."""
    files = find_files("", "", "", str(data))
    model = model_registry.fetch(tracking_url, MODEL, version)
    run = ScoringRun(files, model, "", CsvFormat())
    folder = PartsFolder(f"file://{destination}/", run.key())
    folder.prepare()
    run.write_parts(folder)
    folder.finish(len(run.units), {})
    return _digests(json.loads((destination / "_manifest.json").read_text()))


def digests_of_store(url: str, destination: str) -> dict[str, str]:
    """Return the digest of each part in the store by its name without the key."""
    body = s3_client(url).get_object(Bucket=BUCKET, Key=f"{destination}/_manifest.json")["Body"]
    return _digests(json.loads(body.read()))


def workers(api: KubernetesClient) -> set[str]:
    """Return the nodes that run any pod."""
    return {node.metadata.name for node in api.core.list_node().items if not node.spec.taints}


def _digests(manifest: Mapping[str, Any]) -> dict[str, str]:
    assert manifest["rows"] == SHARDS * ROWS
    return {part["name"].rpartition("-")[0]: part["sha256"] for part in manifest["parts"]}
