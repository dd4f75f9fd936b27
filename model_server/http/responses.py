"""Responses of all routes: one JSON encoder and one form of errors."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

import orjson
from werkzeug.exceptions import HTTPException

from model_server.dataplane import JSON
from model_server.errors import RequestError

JSON_TYPE = ("Content-Type", JSON)
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
ROUTING_ERRORS = {
    404: ("not_found", "this path does not exist"),
    405: ("method_not_allowed", "this path does not take this method"),
}
logger = logging.getLogger(__name__)


class Response(NamedTuple):
    """A response: its body, status, content type, and headers beside the standard ones."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def header_list(self) -> list[tuple[str, str]]:
        """Return all headers."""
        length = ("Content-Length", str(len(self.body)))
        return [("Content-Type", self.content_type), length, NO_SNIFFING, *self.headers]


def as_response(response: Response | bytes) -> Response:
    """Return the response of a route as an object."""
    return Response(response) if isinstance(response, bytes) else response


def json_headers(body: bytes) -> list[tuple[str, str]]:
    """Return all headers of a successful response in JSON."""
    return [JSON_TYPE, ("Content-Length", str(len(body))), NO_SNIFFING]


def encode_json(content: Any) -> bytes:
    """Return compact JSON in UTF-8; a lone surrogate, which UTF-8 cannot represent, is escaped."""
    try:
        return orjson.dumps(content)
    except TypeError:
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def json_response(content: dict[str, Any] | list[Any], status: int = 200) -> Response:
    """Return a JSON object or list as a response."""
    return Response(encode_json(content), status)


def error_response(error: Exception) -> Response:
    """Return the response for an exception: always the JSON form of RequestError, never a stack trace."""
    if isinstance(error, RequestError):
        return json_response(error.as_json(), error.status)
    if isinstance(error, HTTPException) and error.code and error.code < 500:
        code, message = ROUTING_ERRORS.get(error.code, ("bad_request", "the request is malformed"))
        message += "; /openapi.json describes all paths"
        methods = getattr(error, "valid_methods", None)
        allow = (("Allow", ", ".join(sorted(methods))),) if methods else ()
        return json_response(RequestError(error.code, code, message).as_json(), error.code)._replace(headers=allow)
    logger.error("a request failed inside the server", exc_info=error)
    return json_response(RequestError(500, "internal", "the server failed; see its log").as_json(), 500)
