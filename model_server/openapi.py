"""The OpenAPI 3.1 description of the server, strict for the model that is served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from model_server.dataplane import CSV, JSON
from model_server.inference import FLOATS, INTEGERS
from model_server.model import FEATURES, OUTPUTS, Model
from model_server.package import Feature
from model_server.settings import Settings

API_VERSION = "1.0.0"
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
SPELT_OUT_ROWS = 3


def document(model: Model | None, settings: Settings) -> Schema:
    """The OpenAPI document; without a model, what depends on its features and classes is left open."""
    name = model.name if model else settings.model or "any"
    form = {
        "error": TEXT | {"description": "What is wrong, as a sentence."},
        "code": TEXT | {"description": "What is wrong, for programs."},
        "field": {"type": ["string", "null"], "description": "The input field at fault."},
        "row": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "Its row in a batch, counted from 0.",
        },
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Model server: {name}",
            "version": API_VERSION,
            "description": "Predictions of one model. Every error has the same JSON form, `Error`.",
        },
        "paths": _plain_paths(model, settings) | _model_paths(model, name),
        "components": {"schemas": {"Error": _object(form)} | _schemas(model, settings.max_rows)},
    }


def _plain_paths(model: Model | None, settings: Settings) -> Schema:
    text = {"schema": TEXT}
    bodies: Schema = {JSON: {"schema": {"anyOf": [_ref("Row"), _ref("Rows")]}}, CSV: text}
    if model:
        means = {feature.name: feature.mean for feature in model.signature.features}
        bodies[JSON]["example"] = means
        bodies[CSV] = {"schema": _csv(model.rows.names), "example": _csv_text(means)}
    ready = {
        "ready": {"const": True},
        "model_name": TEXT,
        "model_version": TEXT,
        "problem": {"type": ["string", "null"]},
    }
    server = {"name": TEXT, "version": TEXT, "extensions": {"type": "array", "items": TEXT}}
    score = _operation(
        "score",
        f"Predict for one row, or for up to {settings.max_rows} rows as a JSON list or CSV with a header.",
        {"anyOf": [_ref("Prediction"), _ref("Predictions")]},
        {
            400: "Not JSON or CSV",
            413: "Body too large",
            415: "Other content type",
            422: "Wrong values",
            503: "No model",
        },
    )
    score["requestBody"] = {"required": True, "content": bodies}
    return {
        "/": {"get": _operation("page", "A page to try the model.", TEXT, media="text/html")},
        "/score": {"post": score},
        "/metrics": {"get": _operation("metrics", "Prometheus metrics.", TEXT, media="text/plain")},
        "/openapi.json": {"get": _operation("openapi", "This document.", {"type": "object"})},
        "/v2": {"get": _operation("server", "What this server is.", _object(server))},
        "/v2/health/live": {"get": _operation("live", "The server runs.", _object({"live": {"const": True}}))},
        "/v2/health/ready": {
            "get": _operation("ready", "A model is served.", _object(ready), {503: "No model, and why"})
        },
    }


def _model_paths(model: Model | None, name: str) -> Schema:
    tensors = {
        "type": "array",
        "items": _object({"name": TEXT, "datatype": TEXT, "shape": {"type": "array"}}),
    }
    metadata = {
        "name": TEXT,
        "versions": {"type": "array", "items": TEXT},
        "platform": TEXT,
        "inputs": tensors,
        "outputs": tensors,
        "parameters": {"type": "object"},
    }
    unknown = {404: "No such model or version"}
    no_model = unknown | {503: "No model"}
    bad = {400: "Not JSON", 413: "Body too large", 415: "Other content type", 422: "Wrong values"}
    paths: Schema = {}
    for prefix, suffix, parameters in (
        ("/v2/models/{name}", "", {"name": name}),
        (
            "/v2/models/{name}/versions/{version}",
            "OfVersion",
            {"name": name, "version": model and model.version},
        ),
    ):
        infer = _operation(
            f"infer{suffix}", "Predict, by the open inference protocol.", _ref("Inference"), no_model | bad
        )
        infer["requestBody"] = {"required": True, "content": {JSON: {"schema": _ref("InferenceRequest")}}}
        ready = _object({"name": TEXT, "ready": {"const": True}})
        shared = {
            "parameters": [
                {"name": key, "in": "path", "required": True, "schema": {"enum": [value]} if value else TEXT}
                for key, value in parameters.items()
            ]
        }
        paths |= {
            prefix: shared | {"get": _operation(f"model{suffix}", "The model.", _object(metadata), unknown)},
            f"{prefix}/ready": shared | {"get": _operation(f"modelReady{suffix}", "It is served.", ready, no_model)},
            f"{prefix}/infer": shared | {"post": infer},
        }
    return paths


def _schemas(model: Model | None, max_rows: int) -> dict[str, Schema]:
    row: Schema = {"type": "object", "additionalProperties": {"type": "number"}}
    prediction, request = {"type": "object"}, {"type": "object", "required": ["inputs"]}
    if model:
        signature = model.signature
        row = _object({feature.name: _number(feature) for feature in signature.features})
        prediction = {
            "class_index": {"type": "integer", "minimum": 0, "maximum": len(signature.classes) - 1},
            signature.target: {"enum": list(signature.classes)},
            "probabilities": _object(dict.fromkeys(signature.classes, PROBABILITY)),
        }
        request = _inference_request(signature.features)
    identity = {"model_name": TEXT, "model_version": TEXT}
    output = {
        "name": {"enum": OUTPUTS},
        "datatype": {"enum": ["INT64", "FP32"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {"type": "number"}},
    }
    outputs = {"type": "array", "items": _object(output)}
    one, each = (_object(prediction | identity), _object(prediction)) if model else (prediction, prediction)
    return {
        "Row": row,
        "Rows": {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": max_rows},
        "Prediction": one,
        "Predictions": _object({"predictions": {"type": "array", "items": each}} | identity),
        "InferenceRequest": request,
        "Inference": _object(identity | {"id": TEXT, "outputs": outputs}, optional={"id"}),
    }


def _inference_request(features: Sequence[Feature]) -> Schema:
    """A request of a few rows; longer ones have the same form.

    JSON Schema cannot say that a shape is the size of the data, so each number of rows is spelt out.
    """
    columns = len(features)
    forms = []
    for types, integer in ((FLOATS, {}), (INTEGERS, {"type": "integer"})):
        values = [_number(feature) | integer for feature in features]
        row = _tuple(values)
        forms.append(_tuple([_tensor(FEATURES, types, [1, columns], row)]))
        forms += [
            _tuple([_tensor(FEATURES, types, [rows, columns], _tuple([row] * rows))])
            for rows in range(1, SPELT_OUT_ROWS + 1)
        ]
        forms.append(_tuple([_tensor(f.name, types, [1], _tuple([v])) for f, v in zip(features, values, strict=True)]))
    parameters = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    output = _object({"name": {"enum": OUTPUTS}, "parameters": parameters}, optional={"parameters"})
    members = {
        "id": TEXT,
        "parameters": parameters,
        "inputs": {"anyOf": forms},
        "outputs": {"type": "array", "items": output, "minItems": 1},
    }
    return _object(members, optional={"id", "parameters", "outputs"})


def _tensor(name: str, datatypes: Sequence[str], shape: list[int], data: Schema) -> Schema:
    members = {
        "name": {"const": name},
        "datatype": {"enum": list(datatypes)},
        "shape": {"const": shape},
        "data": data,
    }
    return _object(members)


def _number(feature: Feature) -> Schema:
    low, high = feature.bounds()
    told = f"From {feature.minimum:g} to {feature.maximum:g} in the training data, {feature.mean:.3g} on average."
    return {"type": "number", "minimum": low, "maximum": high, "description": told}


def _csv(names: Sequence[str]) -> Schema:
    return TEXT | {"description": f"A header with {', '.join(names)} in any order, then one line for each row."}


def _csv_text(row: dict[str, float]) -> str:
    return ",".join(row) + "\n" + ",".join(str(value) for value in row.values()) + "\n"


def _tuple(schemas: Sequence[Schema]) -> Schema:
    size = len(schemas)
    return {"type": "array", "prefixItems": list(schemas), "items": False, "minItems": size, "maxItems": size}


def _object(properties: Schema, optional: set[str] | frozenset[str] = frozenset()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(
    name: str, summary: str, answer: Schema, errors: dict[int, str] | None = None, media: str = JSON
) -> Schema:
    refusals = {
        str(status): {"description": told, "content": {JSON: {"schema": _ref("Error")}}}
        for status, told in ((errors or {}) | {405: "Other method"}).items()
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": {"description": summary, "content": {media: {"schema": answer}}}} | refusals,
    }
