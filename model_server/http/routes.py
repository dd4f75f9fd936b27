"""The one table of routes. The fast path and the Flask application both serve it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from model_server.catalog import ModelCatalog
from model_server.dataplane import BINARY, JSON, DataPlane
from model_server.errors import RequestError
from model_server.http.openapi import API_VERSION, openapi_document
from model_server.http.page import render_page
from model_server.http.responses import Response, json_response
from model_server.settings import ServerSettings
from model_server.telemetry import Telemetry

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

SERVER: dict[str, Any] = {"name": "model_server", "version": API_VERSION, "extensions": ["binary_tensor_data"]}
JSON_LENGTH = "Inference-Header-Content-Length"
"""Header with the bytes of the JSON object before binary tensors."""
COMPRESSED_BYTES = 1024
"""Size from which a response is compressed if the client accepts that."""
MODEL_PATHS = ("/v2/models/<name>", "/v2/models/<name>/versions/<version>")


class Request(NamedTuple):
    """A request whose body was read.

    `media_type` is the content type without its parameters, in lower case; JSON if the request has none.
    `parameters` are the values of the placeholders in the route's path.
    """

    environ: WSGIEnvironment
    media_type: str
    parameters: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Route:
    """A method and a path, with placeholders in Werkzeug's notation, and the function that responds.

    Bytes are a successful response in JSON. A prediction then needs no `Response`, which takes as long as its parts.
    """

    method: str
    path: str
    respond: Callable[[Request], Response | bytes]


def routes(settings: ServerSettings, catalog: ModelCatalog, telemetry: Telemetry) -> list[Route]:
    """Return all routes of the server: those of all models together, and those of each model alone by its name."""
    metrics = Route("GET", "/metrics", lambda _: Response(telemetry.exposition(), 200, CONTENT_TYPE_PLAIN_0_0_4))
    table = [metrics, *_routes("", catalog, settings.max_rows)]
    for each, plane in zip(settings.of_each_model(), catalog.models, strict=True):
        if each.model:
            table += _routes(f"/models/{each.model}", ModelCatalog([plane]), settings.max_rows)
    return table


def _routes(prefix: str, catalog: ModelCatalog, max_rows: int) -> list[Route]:
    """Return the routes below a prefix. They reach no other model: a door grants each prefix on its own."""
    plane, is_root = catalog.first, not prefix
    table = [
        Route("POST", "/score", partial(_score, plane)),
        Route("POST", "/invocations", partial(_invocations, plane)),
        Route("GET", "/v2", lambda _: json_response(SERVER)),
        Route("POST", "/v2/repository/index", lambda request: json_response(catalog.index(request.body))),
        Route("GET", "/v2/health/live", lambda _: json_response({"live": True})),
        Route("GET", "/v2/health/ready", lambda _: json_response(catalog.health())),
        Route("GET", "/openapi.json", lambda _: json_response(openapi_document(catalog, max_rows, is_root=is_root))),
        Route("GET", "/", lambda _: render_page(catalog, is_root=is_root)),
    ]
    for path in MODEL_PATHS:
        table += [
            Route("POST", f"{path}/infer", partial(_infer, catalog)),
            Route("GET", path, partial(_metadata, catalog)),
            Route("GET", f"{path}/ready", partial(_model_ready, catalog)),
        ]
    return [replace(route, path=prefix + route.path) for route in table]


def _score(plane: DataPlane, request: Request) -> Response | bytes:
    if (query := request.environ.get("QUERY_STRING")) and _wants_contributions(query):
        return json_response(plane.score(request.body, request.media_type, explain=True))
    prediction = plane.score_fast(request.body, request.media_type)
    return json_response(plane.score(request.body, request.media_type)) if prediction is None else prediction


def _wants_contributions(query: str) -> bool:
    """Return True if the query of an address is for the contributions of the features, too."""
    values = parse_qs(query, keep_blank_values=True).get("contributions", ["no"])
    if len(values) != 1 or values[0] not in ("yes", "no"):
        received = ", ".join(values)[:100]
        raise RequestError(400, "bad_parameter", f"contributions must be yes or no; it is {received!r}")
    return values[0] == "yes"


def _invocations(plane: DataPlane, request: Request) -> Response:
    return json_response(plane.invocations(request.body, request.media_type))


def _infer(catalog: ModelCatalog, request: Request) -> Response | bytes:
    plane = catalog.find(request.parameters["name"])
    json_length = _json_length(request.environ)
    version = request.parameters.get("version")
    is_json = request.media_type == JSON and json_length is None
    if is_json and (prediction := plane.infer_fast(version, request.body)) is not None:
        if len(prediction) < COMPRESSED_BYTES:
            return prediction
        response = Response(prediction)
    else:
        content, binary = plane.infer(version, request.body, request.media_type, json_length)
        response = json_response(content)
        if binary:
            headers = ((JSON_LENGTH, str(len(response.body))),)
            response = Response(response.body + binary, 200, BINARY, headers)
    return _compressed(response, request.environ.get("HTTP_ACCEPT_ENCODING", ""))


def _json_length(environ: WSGIEnvironment) -> int | None:
    length = environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH")
    if length and not length.isdecimal():
        raise RequestError(400, "bad_header", f"{JSON_LENGTH} must be a number of bytes; it is {length[:100]!r}")
    return int(length) if length else None


def _compressed(response: Response, accepted: str) -> Response:
    if "gzip" not in accepted or len(response.body) < COMPRESSED_BYTES:
        return response
    headers = (*response.headers, ("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding"))
    return response._replace(body=gzip.compress(response.body, compresslevel=1, mtime=0), headers=headers)


def _metadata(catalog: ModelCatalog, request: Request) -> Response:
    return json_response(catalog.find(request.parameters["name"]).metadata(request.parameters.get("version")))


def _model_ready(catalog: ModelCatalog, request: Request) -> Response:
    served = catalog.find(request.parameters["name"]).served(request.parameters.get("version"))
    return json_response({"name": served.model.name, "ready": True})
