"""The WSGI layers before Flask: a fast path for the commonest requests, and the measuring of all requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_server.dataplane import JSON
from model_server.http.app import ROUTE
from model_server.http.responses import error_response
from model_server.http.routes import Request, Route, read_body
from model_server.telemetry import Telemetry

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def fast_path(app: WSGIApplication, table: Sequence[Route], max_body_bytes: int) -> WSGIApplication:
    """Respond to POSTs of JSON without Flask, whose routing and contexts would take longer than the prediction."""
    find_route = _post_matcher(table)

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "POST" or environ.get("CONTENT_TYPE") != JSON:
            return app(environ, start_response)
        match = find_route(environ["PATH_INFO"])
        if match is None:
            return app(environ, start_response)
        route, parameters = match
        environ[ROUTE] = route.path
        try:
            response = route.respond(Request(environ, parameters, read_body(environ, max_body_bytes)))
        except Exception as error:  # Flask's error handler catches the same
            response = error_response(error)
        headers = [*response.header_list(), ("Content-Length", str(len(response.body)))]
        start_response(STATUS_LINES[response.status], headers)
        return [response.body]

    return respond


def measured(app: WSGIApplication, telemetry: Telemetry) -> WSGIApplication:
    """Record the route, method, status and duration of every request."""

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = perf_counter()
        status = ""

        def start(line: str, *arguments: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *arguments)

        content = app(environ, start)
        method = environ["REQUEST_METHOD"]
        # Unknown methods and paths share one series each: clients could otherwise create any number of series.
        method = method if method in METHODS else "other"
        telemetry.record_request((environ.get(ROUTE, "other"), method, status), perf_counter() - started)
        return content

    return respond


def _post_matcher(table: Sequence[Route]) -> Callable[[str], tuple[Route, Mapping[str, str]] | None]:
    """Return a function that finds the POST route of a path and the values of its placeholders."""
    posts = [route for route in table if route.method == "POST"]
    fixed: dict[str, tuple[Route, Mapping[str, str]]] = {
        route.path: (route, {}) for route in posts if "<" not in route.path
    }
    patterns = [
        (re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", route.path)), route) for route in posts if "<" in route.path
    ]

    def find(path: str) -> tuple[Route, Mapping[str, str]] | None:
        if path in fixed:
            return fixed[path]
        # WSGI passes other characters as Latin-1, which Flask decodes.
        if path.isascii():
            for pattern, route in patterns:
                if match := pattern.fullmatch(path):
                    return route, match.groupdict()
        return None

    return find
