"""Authorization of requests to MLflow: the reader changes nothing."""

from __future__ import annotations

from typing import Any

from mlplatform.mlflow_server.users import READER

READING_METHODS = {"GET", "HEAD", "OPTIONS"}
SEARCH = "/search"
"""End of the paths of searches, which MLflow's client sends as POST."""


def authenticate_user() -> Any:
    """Return the login of a request, or the response that refuses it; MLflow calls this for each request.

    MLflow lets each user create experiments and models, also a user who may only read.
    """
    from flask import request
    from mlflow.server.auth import authenticate_request_basic_auth, make_forbidden_response

    answer = authenticate_request_basic_auth()
    if getattr(answer, "username", None) != READER or _reads(request.method, request.path):
        return answer
    return make_forbidden_response()


def _reads(method: str, path: str) -> bool:
    return method in READING_METHODS or (method == "POST" and path.endswith(SEARCH))
