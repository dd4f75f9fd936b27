"""Authorization of requests to MLflow: by a password, or by the door; readers change nothing.

With teams, the files of a version are those of a run or another version, for which MLflow checks the rights. With any
other address, the server would read the files of another team with its own access to the store.
"""

from __future__ import annotations

import hmac
import os
import threading
from typing import Any

from mlplatform.mlflow_server.proxied_artifacts import register_proxied_artifacts
from mlplatform.mlflow_server.teams import TEAMS_FILE
from mlplatform.mlflow_server.users import ADMINISTRATOR, DOOR_KEY, READER, set_up_person

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
SEARCH = "/search"
"""End of the paths of searches, which MLflow's client sends as POST."""
CREATE_VERSION = "/model-versions/create"
CHECKED_SOURCES = ("mlflow-artifacts:", "models:", "runs:")
"""Beginnings of the addresses of files for which MLflow checks the rights."""
_rights: dict[str, tuple[str, str]] = {}
"""Roles and teams of the persons that this process has set up in MLflow, by name."""
_rights_lock = threading.Lock()

register_proxied_artifacts()  # MLflow imports this module once, when the server starts


def authenticate_user() -> Any:
    """Return the login of a request, or the response that refuses it; MLflow calls this for each request.

    MLflow lets each user create experiments and models, also a user who may only read.
    """
    from flask import request
    from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response

    if "X-Door-Key" in request.headers:
        login = _authenticate_by_door(request.headers)
        reads_only = request.headers.get("X-Door-Role") == "reader"
    else:
        login = authenticate_request_basic_auth()
        reads_only = _user(login).partition(".")[0] == READER
    if not login or (reads_only and not _reads(request.method, request.path)):
        return make_forbidden_response()
    registers = TEAMS_FILE in os.environ and request.path.endswith(CREATE_VERSION)
    if registers and _user(login) not in ("", ADMINISTRATOR) and not _has_checked_source():
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


def _has_checked_source() -> bool:
    from mlflow.protos.model_registry_pb2 import CreateModelVersion
    from mlflow.server.handlers import _get_request_message

    request = _get_request_message(CreateModelVersion())  # type: ignore[no-untyped-call]
    return bool(request.source.startswith(CHECKED_SOURCES))


def _reads(method: str, path: str) -> bool:
    return method in READING_METHODS or (method == "POST" and path.endswith(SEARCH))
