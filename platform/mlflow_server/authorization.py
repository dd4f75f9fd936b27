"""Authorization of requests to MLflow: by a password, or by the door; readers change nothing.

With teams, the files of a version are those of a run or another version, for which MLflow checks the rights. With any
other address, the server would read the files of another team with its own access to the store.
"""

from __future__ import annotations

import hmac
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlplatform.mlflow_server.proxied_artifacts import register_proxied_artifacts
from mlplatform.mlflow_server.teams import SHARED, TEAMS_FILE
from mlplatform.mlflow_server.users import ADMINISTRATOR, DOOR_KEY, READER, has_set_password, set_up_person

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
SEARCH = "/search"
"""End of the paths of searches, which MLflow's client sends as POST."""
CREATE_VERSION = "/model-versions/create"
NEW_NAMES = {
    "/registered-models/create": ("CreateRegisteredModel", "name"),
    "/registered-models/rename": ("RenameRegisteredModel", "new_name"),
}
"""Requests that give a model a name: the ends of their paths, their messages and the field with the name."""
CHECKED_SOURCES = ("mlflow-artifacts:", "models:", "runs:")
"""Beginnings of the addresses of files for which MLflow checks the rights."""
_rights: dict[str, tuple[str, str]] = {}
"""Roles and teams of the persons that this process has set up in MLflow, by name."""
_rights_lock = threading.Lock()

register_proxied_artifacts()  # MLflow imports this module once, when the server starts


def authenticate_user() -> Any:
    """Return the login of a request, or the response that refuses it; MLflow calls this for each request.

    MLflow lets each user create experiments and models, also a user who may only read. Behind a door, only programs
    have passwords: a person would keep access with one after leaving.
    """
    from flask import request
    from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response

    if "X-Door-Key" in request.headers:
        login = _authenticate_by_door(request.headers)
        reads_only = request.headers.get("X-Door-Role") == "reader"
        teams = request.headers.get("X-Door-Teams", "")
    else:
        login = authenticate_request_basic_auth()
        user = _user(login)
        if user and os.environ.get(DOOR_KEY) and not has_set_password(user):
            return make_forbidden_response()
        program, _, teams = user.partition(".")
        reads_only = program == READER
    if not login or (reads_only and not _reads(request.method, request.path)):
        return make_forbidden_response()
    restricted = TEAMS_FILE in os.environ and _user(login) not in ("", ADMINISTRATOR)
    if restricted and not _is_allowed(request.path, teams.split(",")):
        return make_forbidden_response()
    return login


def _user(login: Any) -> str:
    """Return the user of a login, "" for a response that refuses the request."""
    return getattr(login, "username", None) or ""


def _authenticate_by_door(headers: Any) -> Any:
    """Return the login of the person that the door names; None if the key shows that it is not the door."""
    from mlflow.server.auth import store
    from werkzeug.datastructures import Authorization

    key = os.environ.get(DOOR_KEY, "")
    if not key or not hmac.compare_digest(headers["X-Door-Key"].encode(), key.encode()):
        return None
    user, role, teams = headers["X-Door-User"], headers["X-Door-Role"], headers.get("X-Door-Teams", "")
    with _rights_lock:
        if _rights.get(user) != (role, teams):
            if not set_up_person(store, user, role, teams.split(",")):
                return None
            _rights[user] = (role, teams)
    return Authorization("door", {"username": user, "password": ""})


def _is_allowed(path: str, teams: Sequence[str]) -> bool:
    """Return False if the request reads files or takes a name that may be those of a team other than `teams`."""
    if path.endswith(CREATE_VERSION):
        return _has_checked_source()
    for end, (message, field) in NEW_NAMES.items():
        if path.endswith(end):
            return _may_take(_new_name(message, field), teams)
    return True


def _may_take(name: str, teams: Sequence[str]) -> bool:
    """Return True if the name is that of a model of one of the teams or of no team. MLflow lets all users take it."""
    owned = json.loads(Path(os.environ[TEAMS_FILE]).read_text())
    owner = next((team for team, each in owned.items() if name in each["models"]), None)
    own = [team for team in teams if team not in ("", SHARED)] or [SHARED]
    return owner is None or owner in own


def _new_name(message: str, field: str) -> str:
    from mlflow.protos import model_registry_pb2
    from mlflow.server.handlers import _get_request_message

    request = _get_request_message(getattr(model_registry_pb2, message)())  # type: ignore[no-untyped-call]
    return str(getattr(request, field))


def _has_checked_source() -> bool:
    from mlflow.protos.model_registry_pb2 import CreateModelVersion
    from mlflow.server.handlers import _get_request_message

    request = _get_request_message(CreateModelVersion())  # type: ignore[no-untyped-call]
    return bool(request.source.startswith(CHECKED_SOURCES))


def _reads(method: str, path: str) -> bool:
    return method in READING_METHODS or (method == "POST" and path.endswith(SEARCH))
