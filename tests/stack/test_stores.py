"""MLflow with an external PostgreSQL database and an external S3 store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
import requests
from fsspec import get_filesystem_class
from mlflow import MlflowClient
from mlplatform.mlflow_server.database_copy import copy_tables, set_aside
from sqlalchemy import Boolean, Column, ForeignKey, Integer, MetaData, String, Table, create_engine

from airgap.bundle.registry.certificates import issue_authority
from infra.local.free_ports import free_port
from settings.platform import TrackingSettings
from settings.services.s3_settings import DataStoreSettings
from tests.harness import Stack
from tests.mlflow_servers import mlflow_server
from tests.store_servers import S3_KEY, S3_USER, s3_client, s3_server, server
from tools.cli.backup.contents.external_stores import copy_external_data, has_external_data, restore_external_data
from tools.cli.backup.errors import BackupError
from workloads.ml.data.data_files import find_files
from workloads.runs.step_credentials import s3_variables

PASSWORD = "a-word-of-the-database"
WHO = {"user": "nobody"} if os.geteuid() == 0 else {}
"""PostgreSQL refuses to be root."""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    found = find_spec("pgserver")  # importing it looks for a folder of the user's
    assert found
    assert found.origin
    with tempfile.TemporaryDirectory(prefix="postgresql-") as name:
        # Somewhere that an account without rights may look into.
        folder = Path(name)
        folder.chmod(0o755)
        # With the libraries that the wheel has beside its package.
        package = Path(found.origin).parent
        shutil.copytree(package.with_name("pgserver.libs"), folder / "pgserver.libs")
        programs = shutil.copytree(package / "pginstall", folder / "pgserver" / "pginstall") / "bin"
        data = folder / "data"
        data.mkdir()
        (folder / "word").write_text(PASSWORD)
        if WHO:
            shutil.chown(data, "nobody")
        make = [str(programs / "initdb"), "-D", str(data), "-U", "owner", "--auth=md5", f"--pwfile={folder / 'word'}"]
        subprocess.run(make, check=True, capture_output=True, cwd=folder, **WHO)  # type: ignore[call-overload]
        port = free_port()
        command = [str(programs / "postgres"), "-D", str(data), "-h", "127.0.0.1", "-p", str(port), "-k", str(data)]
        url = f"postgresql://owner:{PASSWORD}@127.0.0.1:{port}/postgres"
        with server(command, lambda: psycopg.connect(url).close(), folder, **WHO):
            yield url


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run an S3 store with the flowers, and yield its settings. A private authority issued its certificate."""
    folder = tmp_path_factory.mktemp("data")
    authority = issue_authority("test authority")
    with s3_server(folder, "flowers", authority=authority) as url:
        s3_client(url, folder / "ca.crt").upload_file("workloads/data/iris.csv", "flowers", "iris.csv")
        yield {"endpoint_url": url, "access_key": S3_USER, "secret_key": S3_KEY, "ca_file": str(folder / "ca.crt")}


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with s3_server(tmp_path_factory.mktemp("s3"), "mlflow") as url:
        yield {"url": "s3://mlflow/files", "endpoint_url": url, "access_key": S3_USER, "secret_key": S3_KEY}


def test_runs_models_and_predictions_are_in_external_stores(
    make_stack: Callable[[str], Stack],
    database: str,
    bucket: dict[str, str],
    data: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-the-user")  # the store of the settings would refuse it
    stack = make_stack("stores")
    stack.settings["platform:tracking"] |= {"database_url": database, "artifacts": bucket}
    stack.settings["platform:s3"] = data
    external = stack.settings["workloads:pipelines"]["iris-external"]
    external["parameters"] = {"data_url": "s3://flowers/iris.csv"}
    addresses = {"data_url": "s3://flowers/iris.csv", "destination": "s3://flowers/predicted/"}
    batch = {"uses_model": external["model"], "parameters": addresses}
    stack.settings["workloads:pipelines"] = {"iris-external": external, "batch-predict": batch}
    del stack.settings["platform:blobs"]
    stack.up()

    outputs = stack.outputs()
    assert outputs["model"]["version"] == "1"
    flower = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
    assert requests.post(outputs["score_url"], json=flower, timeout=10).json()["species"] == "setosa"

    with psycopg.connect(database) as connection, connection.cursor() as cursor:
        cursor.execute("select name, version from model_versions")
        assert cursor.fetchall() == [("iris", 1)]
    client = s3_client(bucket["endpoint_url"])
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="mlflow", Prefix="files/")["Contents"]]
    assert any(key.endswith("model.onnx") for key in keys), keys
    assert not (stack.data / "mlflow" / "mlflow.db").exists()
    store = s3_client(data["endpoint_url"], Path(data["ca_file"]))
    manifest = store.get_object(Bucket="flowers", Key="predicted/_manifest.json")["Body"].read()
    assert json.loads(manifest)["rows"] == 150

    written = [*stack.written, *(file.read_text() for file in (stack.scratch / "state").rglob("*.json"))]
    assert [text for text in written for word in (PASSWORD, S3_KEY) if word in text] == []


def test_folder_of_an_s3_store_is_read_without_its_marker_and_its_times(
    bucket: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {name: value for name, value in bucket.items() if name != "url"}
    for name, value in s3_variables(DataStoreSettings.model_validate(login)).items():
        monkeypatch.setenv(name, value)
    client = s3_client(bucket["endpoint_url"])
    for key in ("marked/", "marked/deeper/"):
        client.put_object(Bucket="mlflow", Key=key, Body=b"")
    client.put_object(Bucket="mlflow", Key="marked/deeper/rows.csv", Body=b"x,y\n1,2\n")
    (file,) = find_files("", "", "", "s3://mlflow/marked/")
    assert file.address == "s3://mlflow/marked/deeper/rows.csv"
    with file.open() as stream:
        assert stream.read() == b"x,y\n1,2\n"
    time.sleep(1)  # the store counts times in seconds
    client.put_object(Bucket="mlflow", Key="marked/deeper/rows.csv", Body=b"x,y\n1,2\n")
    get_filesystem_class("s3").clear_instance_cache()
    (again,) = find_files("", "", "", "s3://mlflow/marked/")
    assert again.version == file.version, "the same content is another version"


def test_restored_data_of_external_stores_are_those_of_the_backup(
    database: str, bucket: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_spec("pgserver")
    assert found
    assert found.origin
    monkeypatch.setenv("PATH", f"{Path(found.origin).parent / 'pginstall/bin'}{os.pathsep}{os.environ['PATH']}")
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create database backed_up")
    url = database.removesuffix("postgres") + "backed_up"
    tracking = TrackingSettings(database_url=url, artifacts=bucket | {"url": "s3://mlflow/backed-up"})
    client = s3_client(bucket["endpoint_url"])
    with psycopg.connect(url, autocommit=True) as connection:
        assert not has_external_data(url)
        connection.execute("create table registered_models (name text)")
        connection.execute("create table runs (id text)")
        connection.execute("insert into runs values ('r1')")
        client.put_object(Bucket="mlflow", Key="backed-up/1/model.onnx", Body=b"as it was")
        copy_external_data(tracking, tmp_path)
        connection.execute("insert into runs values ('r2')")
    client.delete_object(Bucket="mlflow", Key="backed-up/1/model.onnx")
    assert has_external_data(url)
    restore_external_data(tracking, tmp_path, tmp_path / "kept")
    with psycopg.connect(url) as connection:
        assert connection.execute("select id from runs").fetchall() == [("r1",)]
    body = client.get_object(Bucket="mlflow", Key="backed-up/1/model.onnx")["Body"].read()
    assert body == b"as it was"
    assert (tmp_path / "kept" / "mlflow.dump").stat().st_size > 0
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    (tmp_path / "mlflow.db").touch()
    with pytest.raises(BackupError, match=r"the backup has mlflow\.db, and this stack needs mlflow\.dump"):
        restore_external_data(tracking, tmp_path, tmp_path / "kept")


def test_copied_tables_are_the_same_and_accept_new_rows(database: str, tmp_path: Path) -> None:
    metadata = MetaData()
    owners = Table("owners", metadata, Column("id", Integer, primary_key=True), Column("active", Boolean))
    runs = Table("runs", metadata, Column("id", String, primary_key=True), Column("owner", ForeignKey(owners.c.id)))
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("create database copied")
    url = database.removesuffix("postgres") + "copied"
    files = [f"sqlite:///{tmp_path / name}.db" for name in ("before", "after")]
    before, there, after = (create_engine(each) for each in (files[0], url, files[1]))
    for engine in (before, there, after):
        metadata.create_all(engine)
    with before.begin() as source, there.begin() as target:
        source.execute(owners.insert(), [{"id": 7, "active": True}, {"id": 9, "active": False}])
        source.execute(runs.insert(), [{"id": "r1", "owner": 9}])
        target.execute(owners.insert(), [{"id": 1, "active": True}])
    copy_tables(files[0], there, metadata.sorted_tables)
    with there.begin() as target:
        assert target.execute(owners.insert().values(active=True)).inserted_primary_key == (10,)
    copy_tables(url, after, metadata.sorted_tables)
    with after.connect() as copied:
        assert copied.execute(owners.select()).all() == [(7, True), (9, False), (10, True)]
        assert copied.execute(runs.select()).all() == [("r1", 9)]
    set_aside(url, "before_restore")
    with psycopg.connect(url) as connection:
        assert connection.execute("select to_regclass('public.runs')").fetchone() == (None,)
        assert connection.execute("select id from before_restore.runs").fetchall() == [("r1",)]


def test_clients_without_a_way_to_the_store_write_and_read_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3").mkdir()
    with s3_server(tmp_path / "s3", "mlflow", host="127.0.0.2") as store:
        stores = {
            "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow/files",
            "MLFLOW_S3_ENDPOINT_URL": store,
            "AWS_ACCESS_KEY_ID": S3_USER,
            "AWS_SECRET_ACCESS_KEY": S3_KEY,
        }
        with mlflow_server(tmp_path, PASSWORD, variables=stores) as url:
            # The client reaches 127.0.0.1 only.
            variables = {
                **dict.fromkeys(("HTTP_PROXY", "http_proxy"), f"http://127.0.0.1:{free_port()}"),
                "NO_PROXY": "127.0.0.1",
                "no_proxy": "127.0.0.1",
                "MLFLOW_TRACKING_USERNAME": "admin",
                "MLFLOW_TRACKING_PASSWORD": PASSWORD,
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
                "MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE": "1",
            }
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            with pytest.raises(requests.ConnectionError):
                requests.get(store, timeout=10)
            client = MlflowClient(url)
            run = client.create_run("0").info.run_id
            client.log_text(run, "a file", "folder/note.txt")
            assert Path(client.download_artifacts(run, "folder/note.txt", str(tmp_path))).read_text() == "a file"
            assert [each.path for each in client.list_artifacts(run, "folder")] == ["folder/note.txt"]
