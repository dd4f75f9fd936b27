"""The WSGI application: a fast path for POSTs of JSON, Flask for everything else, and the measuring of both."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_server.dataplane import JSON
from model_server.http.app import ROUTE, create_app
from model_server.http.body import BodyReader
from model_server.http.responses import error_response, json_headers
from model_server.http.routes import Request, Route
from model_server.telemetry import Telemetry

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})
STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


def create_wsgi_app(table: Sequence[Route], bodies: BodyReader, telemetry: Telemetry) -> WSGIApplication:
    """Return the application for the routes of the table.

    POSTs of JSON do not pass through Flask, whose routing and contexts would take longer than the prediction.
    """
    flask_app = create_app(table, bodies).wsgi_app
    find_route = _post_matcher(table)

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = perf_counter()
        method = environ["REQUEST_METHOD"]
        is_json_post = method == "POST" and environ.get("CONTENT_TYPE") == JSON
        if is_json_post and (match := find_route(environ["PATH_INFO"])):
            route, parameters = match
            path = route.path
            try:
                response = route.respond(Request(environ, JSON, parameters, bodies.read(environ)))
            except Exception as error:  # as Flask's error handler does
                response = error_response(error)
            if isinstance(response, bytes):
                status, headers, body = STATUS_LINES[200], json_headers(response), response
            else:
                status, headers, body = STATUS_LINES[response.status], response.header_list(), response.body
            start_response(status, headers)
            content: Iterable[bytes] = [body]
        else:
            capture = _StatusCapture(start_response)
            content = flask_app(environ, capture)
            # Unknown methods and paths share one series each: clients could otherwise create any number of series.
            path, status = environ.get(ROUTE, "other"), capture.status
            method = method if method in METHODS else "other"
        telemetry.record_request((path, method, status[:3]), perf_counter() - started)
        return content

    return respond


class _StatusCapture:
    """A `start_response` that keeps the status line."""

    def __init__(self, start_response: StartResponse) -> None:
        self._start_response = start_response
        self.status = ""

    def __call__(self, status: str, *arguments: Any) -> Any:
        self.status = status
        return self._start_response(status, *arguments)


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
        if match := fixed.get(path):
            return match
        # WSGI passes other characters as Latin-1, which Flask decodes.
        if path.isascii():
            for pattern, route in patterns:
                if matched := pattern.fullmatch(path):
                    return route, matched.groupdict()
        return None

    return find
