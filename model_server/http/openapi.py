"""The OpenAPI 3.1 document of the server, strict for the served model."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from model_server.codecs.tensors import BOOLEANS, FLOATS, INTEGERS
from model_server.dataplane import BINARY, CSV, JSON
from model_server.model.model import FEATURES, OUTPUTS, Model
from model_server.model.model_package import Feature
from model_server.settings import ServerSettings

API_VERSION = "1.0.0"
Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
EXPLICIT_ROWS = 3
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


def openapi_document(model: Model | None, settings: ServerSettings) -> Schema:
    """Return the OpenAPI document; without a model, schemas of its features and classes accept any value."""
    name = model.name if model else settings.model or "any"
    description = "Predictions of one model. Every error has the same JSON form, `Error`."
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Model server: {name}", "version": API_VERSION, "description": description},
        "paths": _plain_paths(model, settings.max_rows)
        | _model_paths("", {"name": name})
        | _model_paths("OfVersion", {"name": name, "version": model.version if model else None}),
        "components": {"schemas": _schemas(model, settings.max_rows)},
    }


def _plain_paths(model: Model | None, max_rows: int) -> Schema:
    score: Schema = {JSON: {"schema": {"anyOf": [_ref("Row"), _ref("Rows")]}}, CSV: {"schema": TEXT}}
    if model:
        score[JSON]["example"] = {feature.name: feature.mean for feature in model.signature.features}
        score[CSV] = {"schema": _csv(model.signature.features)}
    one_or_many = {"anyOf": [_ref("Prediction"), _ref("Predictions")]}
    predict = f"Predict for one row, or for up to {max_rows} rows as a JSON list or CSV."
    ready = {"ready": {"const": True}, "model_name": TEXT, "model_version": TEXT, "problem": TEXT_OR_NULL}
    server = _object({"name": TEXT, "version": TEXT, "extensions": TEXTS})
    return {
        "/": {"get": _operation("page", "Page to try the model.", TEXT, media="text/html")},
        "/score": {"post": _operation("score", predict, one_or_many, *BAD_BODY, 503, body=score)},
        "/metrics": {"get": _operation("metrics", "Prometheus metrics.", TEXT, media="text/plain")},
        "/openapi.json": {"get": _operation("openapi", "This document.", {"type": "object"})},
        "/v2": {"get": _operation("server", "Name and version of the server.", server)},
        "/v2/repository/index": {"post": _index()},
        "/v2/health/live": {"get": _operation("live", "The server runs.", _object({"live": {"const": True}}))},
        "/v2/health/ready": {"get": _operation("ready", "A model is served.", _object(ready), 503)},
    }


def _index() -> Schema:
    states = {"name": TEXT, "version": TEXT, "state": {"enum": ["READY", "UNAVAILABLE"]}, "reason": TEXT}
    models = {"type": "array", "items": _object(states)}
    request = _object({"ready": {"type": ["boolean", "null"]}}, optional={"ready"})
    operation = _operation("index", "Models and their states.", models, *BAD_BODY, body={JSON: {"schema": request}})
    operation["requestBody"]["required"] = False
    return operation


def _model_paths(suffix: str, parameters: dict[str, str | None]) -> Schema:
    """Return the three paths of a model, or of one version; each parameter allows only its served value, if any."""
    tensor = _object({"name": TEXT, "datatype": TEXT, "shape": {"type": "array", "items": {"type": "integer"}}})
    tensors = {"type": "array", "items": tensor}
    metadata = {"name": TEXT, "versions": TEXTS, "platform": TEXT, "inputs": tensors, "outputs": tensors}
    about = _object(metadata | {"parameters": {"type": "object"}})
    ready = _object({"name": TEXT, "ready": {"const": True}})
    body = {JSON: {"schema": _ref("InferenceRequest")}}
    prefix = "/v2/models/{name}" + ("/versions/{version}" if suffix else "")
    statuses = (*BAD_BODY, 404, 503)
    infer = _operation(f"infer{suffix}", "Open inference protocol.", _ref("Inference"), *statuses, body=body)
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


def _schemas(model: Model | None, max_rows: int) -> dict[str, Schema]:
    identity = {"model_name": TEXT, "model_version": TEXT}
    row: Schema = {"type": "object", "additionalProperties": {"type": "number"}}
    prediction = single = {"type": "object"}
    request: Schema = {"type": "object", "required": ["inputs"]}
    if model:
        classes = model.signature.classes
        row = _object({feature.name: _number(feature) for feature in model.signature.features})
        answer = {
            "class_index": {"type": "integer", "minimum": 0, "maximum": len(classes) - 1},
            model.signature.target: {"enum": list(classes)},
            "probabilities": _object(dict.fromkeys(classes, PROBABILITY)),
        }
        prediction, single = _object(answer), _object(answer | identity)
        request = _inference_request(model.signature.features)
    output = {
        "name": {"enum": OUTPUTS},
        "datatype": {"enum": ["INT64", "FP32"]},
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {"type": "number"}},
    }
    outputs = {"type": "array", "items": _object(output)}
    row_number = {"type": ["integer", "null"], "minimum": 0, "description": "Row of a batch, counted from 0."}
    return {
        "Row": row,
        "Rows": {"type": "array", "items": _ref("Row"), "minItems": 1, "maxItems": max_rows},
        "Prediction": single,
        "Predictions": _object({"predictions": {"type": "array", "items": prediction}} | identity),
        "InferenceRequest": request,
        "Inference": _object(identity | {"id": TEXT, "outputs": outputs}, optional={"id"}),
        "Error": _object({"error": TEXT, "code": TEXT, "field": TEXT_OR_NULL, "row": row_number}),
    }


def _inference_request(features: Sequence[Feature]) -> Schema:
    """Return the schema of a request of a few rows; longer ones have the same form.

    JSON Schema cannot express that a shape is the size of the data, so each number of rows has its own schema.
    """
    columns = len(features)
    forms = []
    for types, values in _value_schemas(features):
        row = _tuple(values)
        forms.append(_tuple([_tensor(FEATURES, types, [1, columns], row)]))
        forms += [
            _tuple([_tensor(FEATURES, types, [rows, columns], _tuple([row] * rows))])
            for rows in range(1, EXPLICIT_ROWS + 1)
        ]
        forms.append(_tuple([_tensor(f.name, types, [1], _tuple([v])) for f, v in zip(features, values, strict=True)]))
    parameters = {
        "type": ["object", "null"],
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    output = _object({"name": {"enum": OUTPUTS}, "parameters": parameters}, optional={"parameters"})
    members = {
        "id": TEXT_OR_NULL,
        "parameters": parameters,
        "inputs": {"anyOf": forms},
        "outputs": {"type": ["array", "null"], "items": output, "minItems": 1},
    }
    return _object(members, optional={"id", "parameters", "outputs"})


def _value_schemas(features: Sequence[Feature]) -> Iterator[tuple[Sequence[str], list[Schema]]]:
    """Return groups of datatypes, each with the schemas of the features' values."""
    yield FLOATS, [_number(feature) for feature in features]
    yield INTEGERS, [_number(feature) | {"type": "integer"} for feature in features]
    if all(feature.accepts_booleans for feature in features):
        yield BOOLEANS, [{"type": "boolean"}] * len(features)


def _tensor(name: str, datatypes: Sequence[str], shape: list[int], data: Schema) -> Schema:
    kind = {"enum": list(datatypes)}
    return _object({"name": {"const": name}, "datatype": kind, "shape": {"const": shape}, "data": data})


def _number(feature: Feature) -> Schema:
    low, high = feature.bounds()
    description = f"{feature.minimum:.6g} to {feature.maximum:.6g} in the training data"
    kind = ["number", "boolean"] if feature.accepts_booleans else "number"
    return {"type": kind, "minimum": low, "maximum": high, "description": description}


def _csv(features: Sequence[Feature]) -> Schema:
    """Return a text with a pattern, which covers only some valid files: no pattern covers all forms of a number."""
    header = _csv_line([feature.name for feature in features])
    values = [(str(feature.minimum), str(feature.mean), str(feature.maximum)) for feature in features]
    cells = ",".join(f"(?:{'|'.join(map(_literal, three))})" for three in values)
    pattern = f"^{_literal(header)}\\n(?:{cells}\\n){{1,{EXPLICIT_ROWS}}}$"
    description = "A header with the fields in any order, then rows of numbers in the same ranges as in JSON."
    return TEXT | {"description": description, "pattern": pattern}


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _literal(text: str) -> str:
    return re.sub(r"[\\^$.*+?()\[\]{}|/]", r"\\\g<0>", text)


def _tuple(schemas: Sequence[Schema]) -> Schema:
    size = len(schemas)
    return {"type": "array", "prefixItems": list(schemas), "items": False, "minItems": size, "maxItems": size}


def _object(properties: Schema, optional: set[str] | frozenset[str] = frozenset()) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation(
    name: str, summary: str, answer: Schema, *statuses: int, body: Schema | None = None, media: str = JSON
) -> Schema:
    error = {JSON: {"schema": _ref("Error")}}
    errors = {str(status): {"description": ERRORS[status], "content": error} for status in (*statuses, 405)}
    responses = {"200": {"description": summary, "content": {media: {"schema": answer}}}} | errors
    operation: Schema = {"operationId": name, "summary": summary, "responses": responses}
    return operation | {"requestBody": {"required": True, "content": body}} if body else operation
