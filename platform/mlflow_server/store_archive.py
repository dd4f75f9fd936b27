"""Archive of an MLflow server with PostgreSQL and an S3 store, with the same content as that of one on a volume.

The databases are in the archive as SQLite files. Therefore a backup of a stack with replicated stores can be restored
into one without, and the other way round.
"""

from __future__ import annotations

import configparser
import os
import shutil
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from mlplatform.mlflow_server.database_copy import copy_runs, copy_users, count_runs, set_aside
from mlplatform.mlflow_server.database_upgrade import upgrade_database

DATABASE, USERS, ARTIFACTS = "mlflow.db", "basic_auth.db", "artifacts"
"""Names in an archive: the database of runs and models, that of users, and the folder with the files."""


class StoreArchive:
    """The data of a server in the stores that its environment names.

    Args:
        runs: URL of the database of runs and models.
        users: URL of the database of users.
        objects: `s3://bucket/path` of the files.
    """

    def __init__(self, runs: str, users: str, objects: str) -> None:
        self._databases: dict[str, tuple[str, Callable[[str, str], None]]] = {
            DATABASE: (runs, copy_runs),
            USERS: (users, copy_users),
        }
        parts = urlsplit(objects)
        self._bucket, self._prefix = parts.netloc, f"{parts.path.strip('/')}/"

    @classmethod
    def of_environment(cls) -> StoreArchive | None:
        """Return the stores of this server, None for a server whose users are in a SQLite file."""
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(os.environ.get("MLFLOW_AUTH_CONFIG_PATH", ""))
        users = parser.get("mlflow", "database_uri", fallback="")
        if not users.startswith("postgresql:"):
            return None
        return cls(os.environ["MLFLOW_BACKEND_STORE_URI"], users, os.environ["MLFLOW_ARTIFACTS_DESTINATION"])

    def save(self, archive: tarfile.TarFile, scratch: Path) -> None:
        """Add everything to an archive, the databases first: a file is written before the database names it."""
        for name, (url, copy) in self._databases.items():
            copy(url, f"sqlite:///{scratch / name}")
            archive.add(scratch / name, name)
        client = _client()
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
            for found in page.get("Contents", []):
                item = tarfile.TarInfo(f"{ARTIFACTS}/{found['Key'].removeprefix(self._prefix)}")
                answer = client.get_object(Bucket=self._bucket, Key=found["Key"])
                item.size, item.mtime = answer["ContentLength"], int(found["LastModified"].timestamp())
                archive.addfile(item, answer["Body"])

    def load(self, archive: tarfile.TarFile, scratch: Path) -> None:
        """Replace the databases by those of an archive, and write its files; data of before stay beside.

        The tables of before are in a schema `before_restore_<time>` of their database. A file that the archive lacks
        stays as it is.
        """
        before = f"before_restore_{datetime.now(UTC):%Y%m%d_%H%M%S}"
        client = _client()
        for item in archive:
            content = archive.extractfile(item)
            if content is None:
                continue
            if item.name in self._databases:
                url, copy = self._databases[item.name]
                source = f"sqlite:///{_written(content, scratch / item.name)}"
                if copy is copy_runs:
                    upgrade_database(source, backed_up=True)
                set_aside(url, before)
                copy(source, url)
            elif item.name.startswith(f"{ARTIFACTS}/"):
                key = self._prefix + item.name.removeprefix(f"{ARTIFACTS}/")
                client.upload_file(str(_written(content, scratch / "object")), self._bucket, key)

    def count(self) -> int:
        """Return the number of runs and registered models."""
        return count_runs(self._databases[DATABASE][0])


def _written(content: IO[bytes], file: Path) -> Path:
    """Write a member of a streamed archive to a file, from which it can be read twice."""
    with file.open("wb") as target:
        shutil.copyfileobj(content, target)
    return file


def _client() -> Any:
    import boto3

    return boto3.client("s3", endpoint_url=os.environ.get("MLFLOW_S3_ENDPOINT_URL"))
