"""Data of a stack in a cluster: those of MLflow and of the audit log, streamed through the API server."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path
from typing import IO

from mlplatform.audit_log.entries_copy import LOAD_ENTRIES, SAVE_ENTRIES
from mlplatform.door import audit
from mlplatform.mlflow import NAMESPACE
from mlplatform.mlflow_pod import MODULE, NAME
from mlplatform.mlflow_server.data_archive import COUNT, LOAD, SAVE

from tools.cli.cluster_access import restart_deployment, run_in_deployment

ARCHIVE = f"{MODULE}.data_archive"
CONTENT = "mlflow"
"""Folder of a backup with the data of MLflow."""
AUDIT_ENTRIES = "audit.jsonl"
"""File of a backup with the entries of the audit log."""


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


def copy_audit_log(kubeconfig: str, folder: Path) -> None:
    """Copy the entries of the audit log behind the door into a folder."""
    with tempfile.TemporaryFile() as nothing, (folder / AUDIT_ENTRIES).open("wb") as output:
        _run_audit(kubeconfig, SAVE_ENTRIES, nothing, output)


def add_audit_entries(kubeconfig: str, folder: Path) -> None:
    """Add the entries of a backup to the audit log behind the door; those that it has stay."""
    with (folder / AUDIT_ENTRIES).open("rb") as entries, tempfile.TemporaryFile() as output:
        _run_audit(kubeconfig, LOAD_ENTRIES, entries, output)


def _run(kubeconfig: str, action: str, stdin: IO[bytes], stdout: IO[bytes]) -> None:
    command = ["python3", "-m", ARCHIVE, action]
    run_in_deployment(kubeconfig, NAMESPACE, NAME, command, stdin=stdin, stdout=stdout)


def _run_audit(kubeconfig: str, action: str, stdin: IO[bytes], stdout: IO[bytes]) -> None:
    command = ["python3", "-m", f"{audit.MODULE}.entries_copy", action]
    run_in_deployment(kubeconfig, audit.NAMESPACE, audit.NAME, command, stdin=stdin, stdout=stdout)
