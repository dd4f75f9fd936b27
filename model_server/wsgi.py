"""What stands before Flask: a short way for the commonest requests, and the measuring of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_server import metrics
from model_server.answers import NO_SNIFFING, encode, refusal
from model_server.dataplane import JSON, Answer, DataPlane

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE = "model_server.route"
"""Key of a request's environment: the route that answers it."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def short_way(app: WSGIApplication, plane: DataPlane, max_body_bytes: int) -> WSGIApplication:
    """Answer plain predictions at once: Flask's routing, contexts and objects would take longer than all the rest."""

    def handler(environ: WSGIEnvironment) -> Callable[[bytes, str], Answer] | None:
        match environ["PATH_INFO"].split("/"):
            case ["", "score"]:
                environ[ROUTE] = "/score"
                return plane.score
            case ["", "v2", "models", name, "infer"]:
                environ[ROUTE] = "/v2/models/<name>/infer"
                return partial(plane.infer, name, None)
        return None

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        plain = environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_TYPE") == JSON
        plain = plain and length.isdecimal() and int(length) <= max_body_bytes
        handle = handler(environ) if plain else None
        if handle is None:
            return app(environ, start_response)
        try:
            content = encode(handle(environ["wsgi.input"].read(int(length)), JSON)).encode()
        except Exception as error:  # as Flask's own handler takes them
            return refusal(error)(environ, start_response)
        start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(content))), NO_SNIFFING])
        return [content]

    return answer


def measured(app: WSGIApplication) -> WSGIApplication:
    """Count every request and its time by route, method and status."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = perf_counter()
        status = ""

        def start(line: str, *rest: Any) -> Any:
            nonlocal status
            status = line[:3]
            return start_response(line, *rest)

        content = app(environ, start)
        method = environ["REQUEST_METHOD"]
        # Neither invented methods nor paths without a route make series of their own.
        method = method if method in METHODS else "other"
        metrics.answered(environ.get(ROUTE, "other"), method, status, perf_counter() - started)
        return content

    return answer
