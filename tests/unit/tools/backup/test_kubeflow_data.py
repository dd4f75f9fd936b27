"""Copies of the data of Kubeflow Pipelines, with a real MariaDB and a real S3 store."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from infra.local.free_ports import free_port
from settings.platform import KubeflowSettings
from tests.store_servers import S3_KEY, S3_USER, s3_client, s3_server, server
from tools.cli.backup.contents.kubeflow_data import KubeflowData
from tools.cli.backup.errors import BackupError

KUBECONFIG = "kubeconfig of a cluster"
KUBECTL = """#!/bin/sh
echo "$@" >> {folder}/calls
while [ $# -gt 0 ]; do
  if [ "$1" = -- ]; then
    program=$2
    shift 4
    exec "$program" --no-defaults --socket={folder}/server.sock --user=kubeflow --password=word "$@"
  fi
  shift
done
"""
BUCKET = "mlpipeline"
OBJECT = "v2/artifacts/iris/model.onnx"
START = """CREATE DATABASE mlpipeline;
CREATE DATABASE metadb;
CREATE USER 'kubeflow'@'%' IDENTIFIED BY 'word';
GRANT ALL PRIVILEGES ON mlpipeline.* TO 'kubeflow'@'%';
GRANT ALL PRIVILEGES ON metadb.* TO 'kubeflow'@'%';
"""
TABLES = """CREATE TABLE mlpipeline.run_details (UUID varchar(64), DisplayName text, ExperimentUUID varchar(64),
  State varchar(32), CreatedAtInSec bigint, FinishedAtInSec bigint);
CREATE TABLE metadb.Execution (id int);
INSERT INTO mlpipeline.run_details VALUES ('1', 'Blüte 🌸', 'e', 'SUCCEEDED', 5, 6);
INSERT INTO metadb.Execution VALUES (7);"""
LATER = "INSERT INTO mlpipeline.run_details VALUES ('2', 'later', 'e', 'RUNNING', 7, NULL);"


@dataclass
class Stores:
    """The stores of Kubeflow Pipelines; `statement` runs SQL and returns the lines of its answer."""

    folder: Path
    settings: KubeflowSettings
    url: str

    def statement(self, sql: str) -> list[str]:
        options = [f"--socket={self.folder}/server.sock", "--user=root", "--default-character-set=utf8mb4"]
        command = ["mariadb", "--no-defaults", *options, "--skip-column-names", f"--execute={sql}"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split("\n")[:-1]

    def put(self, content: bytes, name: str = OBJECT) -> None:
        s3_client(self.url).put_object(Bucket=BUCKET, Key=name, Body=content)

    def read(self, name: str = OBJECT) -> bytes:
        content: bytes = s3_client(self.url).get_object(Bucket=BUCKET, Key=name)["Body"].read()
        return content


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    if shutil.which("mariadbd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("MariaDB is not installed (apt-get install mariadb-server-core mariadb-client)")
    folder, objects = (tmp_path_factory.mktemp(name) for name in ("database", "objects"))
    (folder / "start.sql").write_text(START)
    data = f"--datadir={folder}/data"
    subprocess.run(
        ["mariadb-install-db", "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    port = free_port()
    command = [
        *("/usr/sbin/mariadbd", "--no-defaults", "--user=root", data, f"--socket={folder}/server.sock"),
        *(f"--port={port}", "--bind-address=127.0.0.1", f"--init-file={folder}/start.sql", "--skip-name-resolve"),
        *("--innodb-buffer-pool-size=16M", f"--pid-file={folder}/server.pid", "--character-set-server=utf8mb4"),
    ]
    with s3_server(objects, BUCKET) as url:
        settings = KubeflowSettings.model_validate(
            {
                "database": {"host": "127.0.0.1", "port": port, "user": "kubeflow", "password": "word"},
                "objects": {
                    **{"host": "127.0.0.1", "port": urlsplit(url).port, "bucket": BUCKET, "secure": False},
                    **{"access_key": S3_USER, "secret_key": S3_KEY},
                },
            }
        )
        stores = Stores(folder, settings, url)
        with server(command, lambda: stores.statement("USE metadb"), folder):
            yield stores


@pytest.fixture(params=["pod", "server of the settings"])
def data(
    running: Stores, tmp_path: Path, install_program: Callable[[str, str], None], request: pytest.FixtureRequest
) -> KubeflowData:
    """Return the data of one run and one object; the clients run in the pod of the database, or here."""
    install_program("kubectl", KUBECTL.format(folder=running.folder))
    for name in ("mlpipeline", "metadb"):
        running.statement(f"DROP DATABASE IF EXISTS {name}; CREATE DATABASE {name}")
    running.statement(TABLES)
    running.put(b"as it was")
    settings = running.settings
    if request.param == "pod":
        settings = settings.model_copy(update={"database": None})
    return KubeflowData(settings, KUBECONFIG)


def test_replaced_data_are_those_of_the_copy_and_the_others_stay_beside(
    data: KubeflowData, running: Stores, tmp_path: Path
) -> None:
    backup, kept = tmp_path / "backup", tmp_path / "kept"
    backup.mkdir()
    data.copy(backup)
    running.statement(f"{LATER} CREATE TABLE metadb.newer (id int)")
    running.put(b"changed")
    running.put(b"another", "v2/artifacts/other")
    data.replace(backup, kept)
    assert running.statement("SELECT DisplayName FROM mlpipeline.run_details") == ["Blüte 🌸"]
    assert running.statement("SHOW TABLES IN metadb") == ["Execution"]
    assert running.statement("SELECT id FROM metadb.Execution") == ["7"]
    assert running.read() == b"as it was"
    assert running.read("v2/artifacts/other") == b"another"
    assert "later" in (kept / "pipelines.sql").read_text()
    calls = (running.folder / "calls").read_text()
    for deployment in ("ml-pipeline", "metadata-grpc-deployment"):
        assert f"rollout restart --namespace kubeflow deployment/{deployment}" in calls


def test_runs_have_another_digest_after_a_change(data: KubeflowData, running: Stores) -> None:
    before = data.runs()
    assert before.keys() == {"1"}
    running.statement(LATER)
    assert data.runs().keys() == {"1", "2"}
    assert data.runs()["1"] == before["1"]
    running.statement("UPDATE mlpipeline.run_details SET State = 'FAILED' WHERE UUID = '1'")
    assert data.runs()["1"] != before["1"]
    running.statement("DROP TABLE mlpipeline.run_details")
    assert data.runs() == {}


def test_has_runs_counts_runs(data: KubeflowData, running: Stores) -> None:
    assert data.has_runs()
    running.statement("DELETE FROM mlpipeline.run_details")
    assert not data.has_runs()
    running.statement("DROP TABLE mlpipeline.run_details")
    assert not data.has_runs()


def test_wrong_password_of_the_settings_raises_and_names_the_setting(running: Stores, tmp_path: Path) -> None:
    assert running.settings.database
    wrong = running.settings.database.model_copy(update={"user": "stranger"})
    data = KubeflowData(running.settings.model_copy(update={"database": wrong}), KUBECONFIG)
    with pytest.raises(BackupError, match=r"platform:kubeflow\.database: mariadb-dump failed: .*Access denied"):
        data.copy(tmp_path)
