"""What stands before Flask: a short way for the commonest requests, and the measuring of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from model_server import telemetry
from model_server.dataplane import JSON, DataPlane
from model_server.http.responses import NO_SNIFFING, encode, refusal

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ROUTE = "model_server.route"
"""Key of a request's environment: the route that answers it."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


def fast_path(app: WSGIApplication, plane: DataPlane, max_body_bytes: int) -> WSGIApplication:
    """Answer plain predictions at once: Flask's routing, contexts and objects would take longer than all the rest."""

    def score(body: bytes) -> bytes:
        return plane.score_plain(body) or encode(plane.score(body, JSON)).encode()

    def handler(path: str) -> tuple[str, Callable[[bytes], bytes]] | None:
        if path == "/score":
            return path, score
        match path.split("/"):
            case ["", "v2", "models", name, "infer"]:
                return "/v2/models/<name>/infer", lambda body: encode(plane.infer(name, None, body, JSON)).encode()
        return None

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = perf_counter()
        told = environ.get("CONTENT_LENGTH") or ""
        length = int(told) if told.isdecimal() else max_body_bytes + 1
        plain = environ["REQUEST_METHOD"] == "POST" and environ.get("CONTENT_TYPE") == JSON and length <= max_body_bytes
        found = handler(environ["PATH_INFO"]) if plain else None
        if found is None:
            return app(environ, start_response)
        path, handle = found
        try:
            content = handle(environ["wsgi.input"].read(length))
        except Exception as error:  # as Flask's own handler takes them
            refused = refusal(error)
            telemetry.answered((path, "POST", str(refused.status_code)), perf_counter() - started)
            return refused(environ, start_response)
        start_response("200 OK", [("Content-Type", JSON), ("Content-Length", str(len(content))), NO_SNIFFING])
        telemetry.answered((path, "POST", "200"), perf_counter() - started)
        return [content]

    return answer


def measured(app: WSGIApplication) -> WSGIApplication:
    """Note every request and its time by route, method and status."""

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
        telemetry.answered((environ.get(ROUTE, "other"), method, status), perf_counter() - started)
        return content

    return answer
