"""Users of an MLflow server, each with the permissions that its programs need."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlplatform.mlflow_server.store_errors import EXISTS, MISSING, ignoring
from mlplatform.mlflow_server.teams import PROGRAMS, TEAMS_FILE, join_teams

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


def set_up_users(database_url: str, passwords: Mapping[str, str]) -> Any:
    """Create missing users, set the passwords and grant the permissions; safe to run twice. Return MLflow's store.

    MLflow itself sets only the administrator's password, and only when it creates the database of users.
    """
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore()
    store.init_db(database_url)  # type: ignore[no-untyped-call]
    for user, password in passwords.items():
        if not store.has_user(user):
            store.create_user(user, password)
        store.update_user(user, password=password, is_admin=user == ADMINISTRATOR)
    _grant_all(store, READER, "READ")
    if TEAMS_FILE in os.environ:
        for each in store.list_users():
            if each.username != READER:
                _revoke_all(store, each.username)
    else:
        _grant_all(store, WRITER, "EDIT")
    return store


def has_set_password(user: str) -> bool:
    """Return True for a user whose password this program sets, which is not one that a person made in MLflow."""
    teams = json.loads(Path(os.environ[TEAMS_FILE]).read_text()) if TEAMS_FILE in os.environ else {}
    program, _, team = user.partition(".")
    return user in PASSWORDS or program in teams.get(team, {}).get("passwords", ())


def set_up_person(store: Any, user: str, role: str, teams: Sequence[str]) -> bool:
    """Create a person who signed in at the door; return False for a program's name.

    With teams, the person gets the rights of the role on what the teams own. Otherwise the role holds for everything.
    """
    if user in PASSWORDS or user.startswith(PROGRAMS):
        return False
    with ignoring(EXISTS):
        store.create_user(user, secrets.token_urlsafe(32))
    store.update_user(user, is_admin=role == "administrator")
    if TEAMS_FILE in os.environ:
        _revoke_all(store, user)
        join_teams(store, user, role, teams)
    elif role == "editor":
        _grant_all(store, user, "EDIT")
    return True


def _grant_all(store: Any, user: str, permission: str) -> None:
    """Grant a permission on all experiments and models. Without teams, each user has the default permission READ."""
    for kind in WRITABLE:
        store.grant_user_permission(user, kind, "*", permission)


def _revoke_all(store: Any, user: str) -> None:
    """Revoke a permission on all experiments and models, which the user has from the time before teams."""
    for kind in WRITABLE:
        with ignoring(MISSING):
            store.revoke_user_resource_permission(user, kind, "*")
