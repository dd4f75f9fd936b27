"""Data of Kubeflow Pipelines: dumps of its two databases, and the objects of its bucket."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mlplatform.kubeflow import api_server, database, object_store, stores
from mlplatform.kubeflow.deployment_factory import NAMESPACE

from infra.kubernetes_client.port_forward import PodTarget, port_forward
from settings.platform import KubeflowSettings
from settings.stack import StackSettings
from tools.bootstrap.console import log_message
from tools.cli.backup.contents.bucket_copy import Bucket, s3_files
from tools.cli.backup.errors import BackupError
from tools.cli.cluster_access import kubectl_output, restart_deployment, run_in_deployment

FOLDER = "kubeflow"
"""Folder of a backup with the data of Kubeflow Pipelines."""
OBJECTS = "objects"
IN_CLUSTER = "Kubeflow Pipelines"
"""Words for the bucket in the cluster, in place of the setting of another one."""
DUMP_OPTIONS = ("--single-transaction", "--routines", "--no-tablespaces")
COUNT = "select count(*) from information_schema.tables where table_schema = database() and table_name = 'run_details'"
RUNS = (
    "select UUID, sha2(concat_ws('|', DisplayName, ExperimentUUID, State, CreatedAtInSec, FinishedAtInSec), 256) "
    "from run_details"
)


class KubeflowData:
    """The databases and the bucket of a stack's Kubeflow Pipelines: pods of the cluster, or those of the settings."""

    def __init__(self, settings: KubeflowSettings, kubeconfig: str) -> None:
        self._settings = settings
        self._kubeconfig = kubeconfig
        external = settings.database
        self._databases = (
            {"pipelines": external.pipelines, "metadata": external.metadata}
            if external
            else {"pipelines": database.PIPELINES, "metadata": database.METADATA}
        )

    def copy(self, folder: Path) -> dict[str, int]:
        """Write the data into `kubeflow` below a folder, the databases first: they name the objects.

        Returns:
            The number of objects, by the folder of the backup that has them.

        Raises:
            BackupError: a store does not respond, or this computer has no client of MariaDB.
            AccessError: a pod does not respond.
        """
        target = folder / FOLDER
        target.mkdir()
        self._dump(target)
        with self._bucket() as bucket:
            return {f"{FOLDER}/{OBJECTS}": bucket.download(target / OBJECTS)}

    def has_runs(self) -> bool:
        """Return True if the database has a run."""
        if not int(self._query("pipelines", COUNT)):
            return False
        return int(self._query("pipelines", "select exists (select 1 from run_details)")) == 1

    def runs(self) -> dict[str, str]:
        """Return digests of the records of all runs by id."""
        if not int(self._query("pipelines", COUNT)):
            return {}
        return dict(line.split("\t") for line in self._query("pipelines", RUNS).splitlines())

    def replace(self, folder: Path, kept: Path) -> None:
        """Replace the databases by those of a backup, add its objects, and restart the servers.

        The databases of before are dumped to the folder `kept`. An object that exists is overwritten.
        """
        source = folder / FOLDER
        kept.mkdir(parents=True, exist_ok=True)
        self._dump(kept)
        for name, in_server in self._databases.items():
            self._load(in_server, source / f"{name}.sql")
        if (source / OBJECTS).is_dir():
            with self._bucket() as bucket:
                bucket.create()
                bucket.upload(source / OBJECTS)
        else:
            log_message("The backup has no objects of Kubeflow Pipelines; the bucket stays as it is.")
        for deployment in (stores.METADATA, api_server.NAME):
            restart_deployment(self._kubeconfig, NAMESPACE, deployment)

    def _dump(self, folder: Path) -> None:
        for name, in_server in self._databases.items():
            with tempfile.TemporaryFile() as nothing, (folder / f"{name}.sql").open("wb") as dump:
                self._client("mariadb-dump", [*DUMP_OPTIONS, in_server], nothing, dump)

    def _load(self, in_server: str, dump: Path) -> None:
        """Replace a database; the client stops at the first statement that fails."""
        clear = f"DROP DATABASE IF EXISTS `{in_server}`; CREATE DATABASE `{in_server}` CHARACTER SET utf8mb4;"
        with tempfile.TemporaryFile() as nothing, tempfile.TemporaryFile() as output:
            self._client("mariadb", [f"--execute={clear}"], nothing, output)
        with dump.open("rb") as statements, tempfile.TemporaryFile() as output:
            self._client("mariadb", [in_server], statements, output)

    def _query(self, name: str, statement: str) -> str:
        with tempfile.TemporaryFile() as nothing, tempfile.TemporaryFile() as output:
            options = ["--skip-column-names", "--batch", f"--execute={statement}", self._databases[name]]
            self._client("mariadb", options, nothing, output)
            output.seek(0)
            return output.read().decode().strip()

    def _client(self, program: str, arguments: Sequence[str], stdin: IO[bytes], stdout: IO[bytes]) -> None:
        """Run a client of MariaDB in the pod of the database, or on this computer for a server outside the cluster."""
        if (external := self._settings.database) is None:
            command = [program, f"--defaults-file={database.CLIENT_FILE}", database.SOCKET, *arguments]
            run_in_deployment(self._kubeconfig, NAMESPACE, database.NAME, command, stdin=stdin, stdout=stdout)
            return
        address = (f"--host={external.host}", f"--port={external.port}", f"--user={external.user}", "--protocol=tcp")
        # The environment of a process is private, its arguments are not.
        environment = os.environ | {"MYSQL_PWD": external.password.get_secret_value()}
        try:
            finished = subprocess.run(
                [program, *address, *arguments], env=environment, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE
            )
        except FileNotFoundError:
            raise BackupError(f"{program} is not on PATH; install MariaDB's client (mariadb-client)") from None
        if finished.returncode:
            reason = finished.stderr.decode(errors="replace").strip()[-1000:]
            raise BackupError(f"platform:kubeflow.database: {program} failed: {reason}")

    @contextmanager
    def _bucket(self) -> Iterator[Bucket]:
        """Yield the bucket."""
        if external := self._settings.objects:
            url = f"{'https' if external.secure else 'http'}://{external.host}:{external.port}"
            key = external.secret_key.get_secret_value()
            files = s3_files(external.access_key, key, url, external.region)
            yield Bucket(files, external.bucket, "platform:kubeflow.objects")
            return
        secret = json.loads(
            kubectl_output(
                self._kubeconfig, ["get", "secret", object_store.SECRET, "--namespace", NAMESPACE, "--output", "json"]
            )
        )
        access, key = (base64.b64decode(secret["data"][name]).decode() for name in ("accesskey", "secretkey"))
        pod = PodTarget(self._kubeconfig, NAMESPACE, f"app={object_store.NAME}", object_store.S3_PORT)
        with port_forward(pod) as url:
            yield Bucket(s3_files(access, key, url, object_store.REGION), object_store.BUCKET, IN_CLUSTER)


def kubeflow_data(settings: StackSettings, outputs: Mapping[str, Any]) -> KubeflowData | None:
    """Return the data of a stack's Kubeflow Pipelines, None for a stack that is down or has another engine."""
    kubeconfig = outputs.get("kubeconfig")
    if settings.platform.pipelines != "kubeflow" or not kubeconfig:
        return None
    return KubeflowData(settings.platform.kubeflow, kubeconfig)
