"""Data of a stack in a cluster: MLflow's files on the volume of its pod, streamed through the API server."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import IO

from mlplatform.mlflow import NAMESPACE
from mlplatform.mlflow_pod import MODULE, NAME
from mlplatform.mlflow_server.data_archive import COUNT, LOAD, SAVE

from tools.cli.cluster_access import restart_deployment, run_in_deployment

ARCHIVE = f"{MODULE}.data_archive"
CONTENT = "mlflow"
"""Folder of a backup with the data of MLflow."""


def copy_cluster_data(kubeconfig: str, folder: Path) -> None:
    """Copy the data of MLflow into a folder; the databases are consistent copies."""
    with tempfile.TemporaryFile(dir=folder) as archive, tempfile.TemporaryFile() as nothing:
        _run(kubeconfig, SAVE, nothing, archive)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as content:
            content.extractall(folder / CONTENT, filter="data")


def has_cluster_data(kubeconfig: str) -> bool:
    """Return True if MLflow has a run or a registered model."""
    with tempfile.TemporaryFile() as nothing, tempfile.TemporaryFile() as output:
        _run(kubeconfig, COUNT, nothing, output)
        output.seek(0)
        return int(output.read()) > 0


def replace_cluster_data(kubeconfig: str, folder: Path) -> None:
    """Replace the data of MLflow by those of a backup, keep those of before on the volume, and restart MLflow."""
    with tempfile.TemporaryFile(dir=folder) as archive, tempfile.TemporaryFile() as output:
        with tarfile.open(fileobj=archive, mode="w") as content:
            for item in sorted((folder / CONTENT).iterdir()):
                content.add(item, item.name)
        archive.seek(0)
        _run(kubeconfig, LOAD, archive, output)
    restart_deployment(kubeconfig, NAMESPACE, NAME)


def _run(kubeconfig: str, action: str, stdin: IO[bytes], stdout: IO[bytes]) -> None:
    command = ["python3", "-m", ARCHIVE, action]
    run_in_deployment(kubeconfig, NAMESPACE, NAME, command, stdin=stdin, stdout=stdout)
