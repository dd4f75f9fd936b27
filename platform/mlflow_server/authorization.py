"""Authorization of requests to MLflow: by a password, or by the door; readers change nothing."""

from __future__ import annotations

import hmac
import os
from typing import Any

from mlplatform.mlflow_server.users import DOOR_KEY, READER, set_up_person

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
SEARCH = "/search"
"""End of the paths of searches, which MLflow's client sends as POST."""
_roles: dict[str, str] = {}
"""Roles of the persons that this process has created in MLflow, by name."""


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
        reads_only = getattr(login, "username", None) == READER
    if login and not (reads_only and not _reads(request.method, request.path)):
        return login
    return make_forbidden_response()


def _authenticate_by_door(headers: Any) -> Any:
    """Return the login of the person that the door names; None if the key shows that it is not the door."""
    from mlflow.server.auth import store
    from werkzeug.datastructures import Authorization

    key = os.environ.get(DOOR_KEY, "")
    if not key or not hmac.compare_digest(headers["X-Door-Key"].encode(), key.encode()):
        return None
    user, role = headers["X-Door-User"], headers["X-Door-Role"]
    if _roles.get(user) != role:
        if not set_up_person(store, user, role):
            return None
        _roles[user] = role
    return Authorization("door", {"username": user, "password": ""})


def _reads(method: str, path: str) -> bool:
    return method in READING_METHODS or (method == "POST" and path.endswith(SEARCH))
