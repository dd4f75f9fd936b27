"""Upgrade of the database of an older MLflow, by the program that runs before the server."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mlplatform.mlflow_server import database_upgrade
from mlplatform.mlflow_server.database_upgrade import UpgradeError, upgrade_database

CREATE = """import sys
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine_with_retry
from mlflow.store.tracking.dbmodels.initial_models import Base

url, revision = sys.argv[1:]
engine = create_sqlalchemy_engine_with_retry(url)
Base.metadata.create_all(engine)
command.upgrade(_get_alembic_config(url), revision)
"""
"""Program that creates a database with the schema of an older release."""
OLD = "75868b020152"
"""Schema of a release before the pinned one."""
SERVES = """import sys
from mlflow import MlflowClient
print(MlflowClient(sys.argv[1]).get_experiment_by_name("kept").experiment_id)
"""
"""Program that reads an experiment with the installed MLflow."""


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def prepare(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    database = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder}/mlflow.db"}
    return run("-m", "mlplatform.mlflow_server.prepare", *arguments, **database)


@pytest.fixture(scope="module")
def old_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Return the content of a database of an older MLflow, with one experiment."""
    file = tmp_path_factory.mktemp("old") / "mlflow.db"
    created = run("-c", CREATE, f"sqlite:///{file}", OLD)
    assert created.returncode == 0, created.stderr
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("insert into experiments (experiment_id, name, lifecycle_stage) values (7, 'kept', 'active')")
    return file.read_bytes()


@pytest.fixture
def folder(tmp_path: Path, old_database: bytes) -> Path:
    (tmp_path / "mlflow.db").write_bytes(old_database)
    return tmp_path


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as database:
        return str(database.execute("select version_num from alembic_version").fetchone()[0])


def test_prepare_of_an_old_database_upgrades_it_and_keeps_a_copy(folder: Path) -> None:
    file, copy = folder / "mlflow.db", folder / f"mlflow.db.schema-{OLD}"
    upgraded = prepare(folder, sys.executable, "-c", SERVES, f"sqlite:///{file}")
    assert upgraded.returncode == 0, upgraded.stderr
    notice, experiment = upgraded.stdout.splitlines()
    assert experiment == "7"
    assert str(copy) in notice
    assert revision(copy) == OLD
    assert sorted(each.name for each in folder.iterdir()) == [file.name, copy.name]


def test_prepare_with_a_failed_upgrade_leaves_database_and_copy_and_names_it(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("drop table jobs")  # a later migration changes this table
    before = (folder / "mlflow.db").read_bytes()
    failed = prepare(folder, sys.executable, "-c", "print('started')")
    assert failed.returncode == 1
    assert "started" not in failed.stdout
    *_, error = failed.stderr.splitlines()
    copy = folder / f"mlflow.db.schema-{OLD}"
    assert f"It is unchanged, and its copy is {copy}" in failed.stderr, error
    assert (folder / "mlflow.db").read_bytes() == before
    assert revision(copy) == OLD


def test_upgrade_of_a_newer_database_raises_error(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "mlflow.db")) as database, database:
        database.execute("update alembic_version set version_num = 'abcdef012345'")
    with pytest.raises(UpgradeError, match=r"abcdef012345, which MLflow .* does not know: a newer release used it"):
        upgrade_database(f"sqlite:///{folder}/mlflow.db", backed_up=True)


def test_upgrade_of_another_server_without_a_backup_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_upgrade, "_revision", lambda _: OLD)
    with pytest.raises(UpgradeError, match=r"pg_dump, then set platform:tracking\.upgrade_database: true"):
        upgrade_database("postgresql://me:word@host/db", backed_up=False)


def test_upgrade_of_an_unreachable_server_names_no_password() -> None:
    with pytest.raises(UpgradeError, match="the database of MLflow cannot be read") as error:
        upgrade_database("postgresql://me:word-of-mine@127.0.0.1:1/db", backed_up=False)
    assert "word-of-mine" not in str(error.value)


def test_upgrade_of_a_missing_file_creates_none(tmp_path: Path) -> None:
    upgrade_database(f"sqlite:///{tmp_path}/mlflow.db", backed_up=False)
    assert list(tmp_path.iterdir()) == []
