"""Users of an MLflow server, each with the permissions that its programs need."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

ADMINISTRATOR = "admin"
"""User of this program, and of persons in MLflow's pages."""
WRITER = "writer"
"""User of the steps of pipelines: logs runs and registers models."""
READER = "reader"
"""User of model servers: reads models, and changes nothing."""
PASSWORDS = {
    ADMINISTRATOR: "MLFLOW_AUTH_ADMIN_PASSWORD",
    WRITER: "MLFLOW_WRITER_PASSWORD",
    READER: "MLFLOW_READER_PASSWORD",
}
"""Environment variable of the password by user."""
DOOR_KEY = "MLFLOW_DOOR_KEY"
"""Environment variable of the key with which the door proves itself."""
WRITABLE = ("experiment", "registered_model")


def set_up_users(database_url: str, passwords: Mapping[str, str]) -> None:
    """Create missing users, set the passwords and grant the permissions; safe to run twice.

    MLflow itself sets only the administrator's password, and only when it creates the database of users.
    """
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database_url)  # type: ignore[no-untyped-call]
    for user, password in passwords.items():
        if not store.has_user(user):
            store.create_user(user, password)
        store.update_user(user, password=password, is_admin=user == ADMINISTRATOR)
    _grant_edits(store, WRITER)


def set_up_person(store: Any, user: str, role: str) -> bool:
    """Create a person who signed in at the door, with the rights of the role; return False for a program's name."""
    from mlflow.exceptions import MlflowException

    if user in PASSWORDS:
        return False
    with suppress(MlflowException):  # the person exists
        store.create_user(user, secrets.token_urlsafe(32))
    store.update_user(user, is_admin=role == "administrator")
    if role == "editor":
        _grant_edits(store, user)
    return True


def _grant_edits(store: Any, user: str) -> None:
    for kind in WRITABLE:
        # Every user has the default permission READ.
        store.grant_user_permission(user, kind, "*", "EDIT")
