"""What stands before Flask: a short way for the commonest request, and the measuring of all."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_server import metrics
from model_server.answers import NO_SNIFFING, encode, refusal
from model_server.dataplane import JSON, DataPlane

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def short_way(app: WSGIApplication, plane: DataPlane, max_body_bytes: int) -> WSGIApplication:
    """Answer a plain `POST /score` at once: routing, contexts and response objects would take as long as all else."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        length = environ.get("CONTENT_LENGTH") or ""
        if not (
            environ["PATH_INFO"] == "/score"
            and environ["REQUEST_METHOD"] == "POST"
            and environ.get("CONTENT_TYPE") == JSON
            and length.isdecimal()
            and int(length) <= max_body_bytes
        ):
            return app(environ, start_response)
        try:
            content = encode(plane.score(environ["wsgi.input"].read(int(length)), JSON)).encode()
        except Exception as error:  # as Flask's own handler takes them
            return refusal(error)(environ, start_response)
        headers = [("Content-Type", JSON), ("Content-Length", str(len(content))), NO_SNIFFING]
        start_response("200 OK", headers)
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
        # The route, not what was asked for, and no invented methods: the series stay few.
        flask_request = environ.get("werkzeug.request")
        route = getattr(flask_request, "url_rule", None)
        path = route.rule if route else "/score" if flask_request is None else "other"
        method = environ["REQUEST_METHOD"]
        metrics.answered(path, method if method in METHODS else "other", status, perf_counter() - started)
        return content

    return answer
