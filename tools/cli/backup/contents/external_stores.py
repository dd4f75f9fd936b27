"""Data of MLflow in stores outside the stack: a PostgreSQL database and an S3 bucket."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mlplatform.mlflow_server.store_archive import ARTIFACTS, DATABASE

from settings.platform import TrackingSettings
from settings.services.s3_settings import ArtifactStoreSettings
from tools.bootstrap.console import log_message
from tools.cli.backup.contents.bucket_copy import Bucket, s3_files
from tools.cli.backup.errors import BackupError

DUMP = "mlflow.dump"
"""File of a backup with a PostgreSQL database."""


def copy_external_data(tracking: TrackingSettings, folder: Path) -> dict[str, int]:
    """Write the data of the stores that the settings name into a folder, the database first.

    Returns:
        The number of objects of the bucket, by the folder of the backup that has them.

    Raises:
        BackupError: a store does not respond, or this computer has no pg_dump of the server's version.
    """
    if tracking.database_url:
        dump_database(tracking.database_url.get_secret_value(), folder / DUMP)
    if tracking.artifacts:
        return {f"{folder.name}/{ARTIFACTS}": _bucket(tracking.artifacts).download(folder / ARTIFACTS)}
    return {}


def has_external_data(database_url: str) -> bool:
    """Return True if the database has a run or a registered model."""
    import psycopg

    try:
        with psycopg.connect(database_url) as connection:
            if connection.execute("select to_regclass('runs')").fetchone() == (None,):
                return False
            found = connection.execute("select exists (table runs) or exists (table registered_models)").fetchone()
    except psycopg.Error as error:
        raise BackupError(f"platform:tracking.database_url: the database cannot be read: {error}") from None
    return found == (True,)


def restore_external_data(tracking: TrackingSettings, folder: Path, kept: Path) -> None:
    """Load the data of a backup into the stores that the settings name, and take them out of the folder.

    A database that has data is first dumped to the folder `kept`.

    Raises:
        BackupError: the backup has another kind of database, or a store does not respond.
    """
    present, other = (DUMP, DATABASE) if tracking.database_url else (DATABASE, DUMP)
    if (folder / other).exists() and not (folder / present).exists():
        raise BackupError(
            f"platform:tracking.database_url: the backup has {other}, and this stack needs {present}: PostgreSQL with "
            "the setting, SQLite without it. Change the setting"
        )
    if tracking.database_url:
        url = tracking.database_url.get_secret_value()
        if has_external_data(url):
            kept.mkdir(parents=True, exist_ok=True)
            dump_database(url, kept / DUMP)
        options = ("--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction")
        _run_client("pg_restore", url, *options, str(folder / DUMP))
        (folder / DUMP).unlink()
    if tracking.artifacts and (folder / ARTIFACTS).is_dir():
        _bucket(tracking.artifacts).upload(folder / ARTIFACTS)
        shutil.rmtree(folder / ARTIFACTS)
    elif tracking.artifacts:
        log_message("The backup has no files of MLflow; the bucket of platform:tracking.artifacts stays as it is.")


def dump_database(url: str, file: Path) -> None:
    """Write a consistent dump of a PostgreSQL database."""
    _run_client("pg_dump", url, "--format=custom", f"--file={file}")


def _run_client(program: str, url: str, *arguments: str) -> None:
    """Run a client of PostgreSQL; the password is in its environment, where other users cannot read it."""
    parts = urlsplit(url)
    address = parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", "@")).geturl()
    environment = os.environ | ({"PGPASSWORD": unquote(parts.password)} if parts.password else {})
    try:
        finished = subprocess.run(
            [program, f"--dbname={address}", *arguments], env=environment, capture_output=True, text=True
        )
    except FileNotFoundError:
        raise BackupError(f"{program} is not on PATH; install PostgreSQL's client (postgresql-client)") from None
    if finished.returncode:
        raise BackupError(f"platform:tracking.database_url: {program} failed: {finished.stderr.strip()[-1000:]}")


def _bucket(store: ArtifactStoreSettings) -> Bucket:
    files = s3_files(store.access_key, store.secret_key.get_secret_value(), store.endpoint_url, store.region)
    return Bucket(files, store.url.removeprefix("s3://").rstrip("/"), "platform:tracking.artifacts")
