"""Bodies in, JSON out, and the one handler of errors."""

from __future__ import annotations

import json
import logging
from typing import Any

from flask import Response, request
from werkzeug.exceptions import HTTPException

from model_server.dataplane import JSON
from model_server.errors import RequestError

REFUSALS = {
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take this method"),
}
NO_SNIFFING = ("X-Content-Type-Options", "nosniff")
logger = logging.getLogger(__name__)
encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def json_answer(content: dict[str, Any], status: int = 200) -> Response:
    """A JSON object as an answer."""
    return Response(encode(content), status, [NO_SNIFFING], content_type=JSON)


def body(limit: int) -> bytes:
    """The request's body.

    Raises:
        RequestError: it is larger than `limit` bytes, whether or not its length was announced.
    """
    # Read from the server itself: Werkzeug cuts a chunked body off at its limit without a word.
    if (request.content_length or 0) <= limit:
        content: bytes = request.environ["wsgi.input"].read(limit + 1)
        if len(content) <= limit:
            return content
    raise RequestError(413, "body_too_large", f"the body is larger than {limit} bytes")


def refusal(error: Exception) -> Response:
    """The answer to a request that could not be answered: always the one error form, never a stack trace."""
    if isinstance(error, RequestError):
        return json_answer(error.form(), error.status)
    if isinstance(error, HTTPException) and error.code and error.code < 500:
        code, told = REFUSALS.get(error.code, ("bad_request", "this request makes no sense"))
        told += "; /openapi.json describes what there is"
        answer = json_answer(RequestError(error.code, code, told).form(), error.code)
        if methods := getattr(error, "valid_methods", None):
            answer.headers["Allow"] = ", ".join(sorted(methods))
        return answer
    logger.error("a request failed inside the server", exc_info=error)
    return json_answer(RequestError(500, "internal", "the server failed; its log says why").form(), 500)
