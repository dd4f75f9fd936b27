"""The administrator's password of an MLflow server whose volume an earlier stack has used."""

from __future__ import annotations

RESET = """import os, sys
from pathlib import Path

from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

file, user = sys.argv[1:]
if Path(file).is_file():
    store = SqlAlchemyStore()
    store.init_db(f"sqlite:///{file}")
    if store.has_user(user):
        store.update_user(user, password=os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"])
"""
"""A program that runs before the server. MLflow sets the password only when it creates its database of users."""


def reset_command(file: str, user: str) -> list[str]:
    """Return the command that sets the password of `user` in the database `file`, if the database exists."""
    return ["python3", "-c", RESET, file, user]
