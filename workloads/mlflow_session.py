"""Sessions with an MLflow server: its address and the credentials of MLflow's client."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from mlplatform.tracking_access import TrackingAccess

from infra.kubernetes_client.port_forward import port_forward

AUTH_PROVIDER = "mlplatform"
"""Name of the auth provider that this module registers in MLflow's client."""

_logins: dict[str, list[tuple[str, str]]] = {}
"""User and password by host and port of a server: one entry for each open session."""
_import_lock = threading.Lock()


def import_mlflow() -> None:
    """Import MLflow's client, in one thread at a time.

    Its modules import each other. Threads that import different ones at the same time would get unfinished modules.
    """
    with _import_lock:
        importlib.import_module("mlflow.artifacts")


@contextmanager
def reachable_url(access: TrackingAccess[str]) -> Iterator[str]:
    """Yield an address at which the server answers while the block lasts.

    Raises:
        UserError: the server runs in a cluster and no pod of it became ready.
    """
    with port_forward(access.pod) if access.pod else nullcontext(access.url) as url:
        yield url


@contextmanager
def mlflow_session(access: TrackingAccess[str]) -> Iterator[str]:
    """Yield the address of the server; MLflow clients of this process send its credentials to it.

    Other servers get no credentials, and sessions with several servers may be open at once. MLflow's client reads
    user and password from environment variables by default. The threads of a provider share one environment, and so
    do the processes that it starts: the credentials stay in memory instead.

    Raises:
        UserError: the server runs in a cluster and no pod of it became ready.
    """
    import_mlflow()
    with reachable_url(access) as url:
        if access.login is None:
            yield url
            return
        from mlflow.environment_variables import MLFLOW_TRACKING_AUTH
        from mlflow.tracking._tracking_service import utils as tracking_service

        _register_auth_provider()
        # The variable may have been removed since the last session.
        MLFLOW_TRACKING_AUTH.set(AUTH_PROVIDER)  # type: ignore[no-untyped-call]
        logins = _logins.setdefault(urlsplit(url).netloc, [])
        logins.append(access.login)
        try:
            yield url
        finally:
            logins.remove(access.login)
            # MLflow keeps the address of each run's files. The next session may have another port.
            tracking_service._artifact_repos_cache.clear()


@cache
def _register_auth_provider() -> None:
    from mlflow.tracking.request_auth.abstract_request_auth_provider import RequestAuthProvider
    from mlflow.tracking.request_auth.registry import _request_auth_provider_registry

    class SessionAuthProvider(RequestAuthProvider):
        def get_name(self) -> str:
            return AUTH_PROVIDER

        def get_auth(self) -> Any:
            return _authenticate

    _request_auth_provider_registry.register(SessionAuthProvider)  # type: ignore[no-untyped-call]


def _authenticate(request: Any) -> Any:
    """Add the credentials of an open session to a request of `requests`."""
    from requests.auth import HTTPBasicAuth

    if logins := _logins.get(urlsplit(request.url).netloc):
        return HTTPBasicAuth(*logins[-1])(request)
    return request
