"""The program that sets MLflow's password before the server starts, with MLflow's own database."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
from mlplatform.mlflow_password import reset_command


def reset(file: Path, password: str) -> None:
    command = [sys.executable, *reset_command(str(file), "admin")[1:]]
    subprocess.run(command, env=os.environ | {"MLFLOW_AUTH_ADMIN_PASSWORD": password}, check=True, capture_output=True)


def test_reset_without_a_database_creates_none(tmp_path: Path) -> None:
    reset(tmp_path / "basic_auth.db", "a-new-password-of-admin")
    assert list(tmp_path.iterdir()) == []


def test_reset_of_a_kept_database_changes_the_administrators_password_only(tmp_path: Path) -> None:
    file = tmp_path / "basic_auth.db"
    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{file}")  # type: ignore[no-untyped-call]
    store.create_user("admin", "the-old-password-of-admin", is_admin=True)
    store.create_user("ada", "the-password-of-ada")
    reset(file, "a-new-password-of-admin")
    assert store.authenticate_user("admin", "a-new-password-of-admin")
    assert not store.authenticate_user("admin", "the-old-password-of-admin")
    assert store.authenticate_user("ada", "the-password-of-ada")
    assert store.get_user("admin").is_admin
