"""The OpenAPI 3.1 document of the server, strict for the served model."""

from __future__ import annotations

from model_server.catalog import ModelCatalog
from model_server.codecs.input_columns import input_columns
from model_server.dataplane import BINARY, CSV, JSON
from model_server.http.openapi_schemas import (
    IDENTITY,
    TEXT,
    TEXT_OR_NULL,
    Schema,
    component_schemas,
    csv_schema,
    examples,
    object_schema,
    ref,
)
from model_server.model.contributions import KEY
from model_server.model.model import Model

API_VERSION = "1.0.0"
TEXTS: Schema = {"type": "array", "items": TEXT}
ERRORS = {
    400: "Not JSON, or not CSV",
    404: "No such model or version",
    405: "Another method",
    408: "The body is incomplete",
    413: "The body is too large",
    415: "Another content type",
    422: "Wrong fields or values",
    503: "No model is loaded",
}
BAD_BODY = (400, 408, 413, 415, 422)


def openapi_document(catalog: ModelCatalog, max_rows: int, *, is_root: bool) -> Schema:
    """Return the OpenAPI document, with the first model's features and classes; without it, these may be any."""
    model = catalog.first.model
    name = catalog.first.name or "any"
    description = f"Predictions of the model {name}. Every error has the same JSON form, `Error`."
    if others := [f"models/{plane.name}/openapi.json" for plane in catalog.models[1:]]:
        description += f" Other models of this server are described at {', '.join(others)}."
    paths = _plain_paths(model, max_rows, several=bool(others))
    if not is_root:
        del paths["/metrics"]
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Model server: {name}", "version": API_VERSION, "description": description},
        "servers": [{"url": "."}],
        "paths": paths
        | _model_paths("", {"name": name})
        | _model_paths("OfVersion", {"name": name, "version": model.version if model else None}),
        "components": {"schemas": component_schemas(model, max_rows)},
    }


def _plain_paths(model: Model | None, max_rows: int, *, several: bool) -> Schema:
    score: Schema = {JSON: {"schema": {"anyOf": [ref("Row"), ref("Rows")]}}, CSV: {"schema": TEXT}}
    if model:
        columns = input_columns(model.signature)
        score[JSON]["example"] = {column.name: examples(column)[1] for column in columns}
        score[CSV] = {"schema": csv_schema(columns)}
    one_or_many = {"anyOf": [ref("Prediction"), ref("Predictions")]}
    predict = f"Predict for one row, or for up to {max_rows} rows as a JSON list or CSV."
    mlflow = "Predict as `mlflow models serve` does."
    values = ["yes", "no"] if model is None or model.has_contributions else ["no"]
    switch = {"name": KEY, "in": "query", "schema": {"enum": values}, "description": "Add contributions."}
    records = score | {JSON: {"schema": ref("Invocation")}}
    state = {"name": TEXT, "version": TEXT, "ready": {"type": "boolean"}, "problem": TEXT_OR_NULL}
    served = {"models": {"type": "array", "items": object_schema(state)}} if several else IDENTITY
    ready = {"ready": {"const": True}, "problem": TEXT_OR_NULL} | served
    server = object_schema({"name": TEXT, "version": TEXT, "extensions": TEXTS})
    return {
        "/": {"get": _operation("page", "Page to try the model.", TEXT, media="text/html")},
        "/score": {
            "post": _operation("score", predict, one_or_many, *BAD_BODY, 503, body=score) | {"parameters": [switch]}
        },
        "/invocations": {"post": _operation("invocations", mlflow, ref("Records"), *BAD_BODY, 503, body=records)},
        "/metrics": {"get": _operation("metrics", "Prometheus metrics.", TEXT, media="text/plain")},
        "/openapi.json": {"get": _operation("openapi", "This document.", {"type": "object"})},
        "/v2": {"get": _operation("server", "Name and version of the server.", server)},
        "/v2/repository/index": {"post": _index()},
        "/v2/health/live": {"get": _operation("live", "The server runs.", object_schema({"live": {"const": True}}))},
        "/v2/health/ready": {"get": _operation("ready", "A model is served.", object_schema(ready), 503)},
    }


def _index() -> Schema:
    states = {"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT}
    models = {"type": "array", "items": object_schema(states)}
    request = object_schema({"ready": {"type": ["boolean", "null"]}}, optional={"ready"})
    operation = _operation("index", "Models and their states.", models, *BAD_BODY, body={JSON: {"schema": request}})
    operation["requestBody"]["required"] = False
    return operation


def _model_paths(suffix: str, parameters: dict[str, str | None]) -> Schema:
    """Return the three paths of a model, or of one version; each parameter allows only its served value, if any."""
    tensor = object_schema({"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": {"type": "integer"}}})
    tensors = {"type": "array", "items": tensor}
    metadata = {"name": TEXT, "versions": TEXTS, "platform": TEXT, "inputs": tensors, "outputs": tensors}
    about = object_schema(metadata | {"parameters": {"type": "object"}})
    ready = object_schema({"name": TEXT, "ready": {"const": True}})
    body = {JSON: {"schema": ref("InferenceRequest")}}
    prefix = "/v2/models/{name}" + ("/versions/{version}" if suffix else "")
    statuses = (*BAD_BODY, 404, 503)
    infer = _operation(f"infer{suffix}", "Open inference protocol.", ref("Inference"), *statuses, body=body)
    infer["responses"]["200"]["content"][BINARY] = {"schema": TEXT | {"format": "binary"}}
    shared = [
        {"name": key, "in": "path", "required": True, "schema": {"enum": [value]} if value else TEXT}
        for key, value in parameters.items()
    ]
    operations = {
        prefix: {"get": _operation(f"model{suffix}", "The model.", about, 404, 503)},
        f"{prefix}/ready": {"get": _operation(f"modelReady{suffix}", "The model is served.", ready, 404, 503)},
        f"{prefix}/infer": {"post": infer},
    }
    return {path: {"parameters": shared} | operation for path, operation in operations.items()}


def _operation(
    name: str, summary: str, answer: Schema, *statuses: int, body: Schema | None = None, media: str = JSON
) -> Schema:
    error = {JSON: {"schema": ref("Error")}}
    errors = {str(status): {"description": ERRORS[status], "content": error} for status in (*statuses, 405)}
    responses = {"200": {"description": summary, "content": {media: {"schema": answer}}}} | errors
    operation: Schema = {"operationId": name, "summary": summary, "responses": responses}
    return operation | {"requestBody": {"required": True, "content": body}} if body else operation
