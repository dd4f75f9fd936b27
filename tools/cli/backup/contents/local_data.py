"""Data of a stack whose services are processes of this computer: MLflow's files, and the files of pipeline runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from mlplatform.mlflow_server.store_archive import DATABASE

from infra.local.process_group import ProcessGroup
from tools.bootstrap.paths import cache_directory
from tools.cli.backup.errors import BackupError

FOLDERS = ("mlflow", "runs", "pipelines")
"""Folders with the data of a stack, below its own."""


def stack_folder(stack: str) -> Path:
    """Return the folder of this computer with the data of a stack."""
    return cache_directory() / "stacks" / stack


@contextmanager
def scratch_folder(stack: str, name: str) -> Iterator[Path]:
    """Yield an empty private folder on the file system of the stack's data; its path is the same each time."""
    folder = stack_folder(stack) / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_local_data(stack: str, folder: Path) -> None:
    """Copy the data of a stack into a folder; files are linked instead of copied, the database is a consistent copy.

    MLflow writes a file of a run before the database names its run's end. Therefore the database comes first. It is
    missing if MLflow is in a cluster, or has another database. Steps of active runs delete temporary files meanwhile.

    Raises:
        BackupError: the database or a file of MLflow or of pipelines cannot be copied, or was deleted meanwhile.
    """
    source = stack_folder(stack)
    database = source / "mlflow" / DATABASE
    (folder / "mlflow").mkdir(parents=True)
    if database.is_file():
        with (
            closing(sqlite3.connect(database)) as original,
            closing(sqlite3.connect(folder / "mlflow" / DATABASE)) as copy,
        ):
            try:
                original.backup(copy)
            except sqlite3.Error as error:
                raise BackupError(f"{database} cannot be copied: {error}") from None
    for name in ("mlflow/artifacts", "runs", "pipelines"):
        if (source / name).is_dir():
            _copy_folder(source / name, folder / name, changing=name == "runs")


def has_local_data(stack: str) -> bool:
    """Return True if a stack has a database of MLflow on this computer."""
    return (stack_folder(stack) / "mlflow" / DATABASE).exists()


def new_kept_folder(stack: str) -> Path:
    """Return the path of a new folder for the data that a restore replaces."""
    return stack_folder(stack) / f"before-restore-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def stop_local_mlflow(stack: str) -> None:
    """Stop MLflow if it is a process of this computer; the next `up` starts it."""
    ProcessGroup(stack_folder(stack) / "mlflow.process.json").stop()


def replace_local_data(stack: str, folder: Path, kept: Path) -> Path | None:
    """Move the data of a backup from `folder` into the folder of a stack, while MLflow is stopped.

    Returns:
        The folder `kept` with the data of before; None if there were none.
    """
    target = stack_folder(stack)
    for name in FOLDERS:
        if (target / name).exists():
            kept.mkdir(exist_ok=True)
            (target / name).rename(kept / name)
        if (folder / name).exists():
            (folder / name).rename(target / name)
    return kept if kept.exists() else None


def _copy_folder(source: Path, target: Path, *, changing: bool) -> None:
    """Copy a folder; `changing` leaves out what is deleted meanwhile."""
    try:
        shutil.copytree(source, target, copy_function=_link_or_copy_if_present if changing else _link_or_copy)
    except shutil.Error as error:
        faults = [(path, reason) for path, _, reason in error.args[0] if not changing or os.path.lexists(path)]
        if faults:
            path, reason = faults[0]
            raise BackupError(f"{len(faults)} files cannot be copied, the first is {path}: {reason}") from None


def _link_or_copy_if_present(source: str, target: str) -> None:
    with suppress(FileNotFoundError):
        _link_or_copy(source, target)


def _link_or_copy(source: str, target: str) -> None:
    """Link a file; copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
