"""The schemas of the OpenAPI document: rows, predictions and requests of the served model."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

from model_server.codecs.base_column import InputColumn
from model_server.codecs.input_columns import (
    BooleanInput,
    CategoryInput,
    DateInput,
    IntegerInput,
    NumberInput,
    input_columns,
)
from model_server.codecs.mlflow_protocol import PARAMETERS, RECORD_FORMS
from model_server.codecs.tensors import BOOLEANS, FLOATS, INTEGERS, TEXTS
from model_server.model.contributions import KEY, MARGIN, SCALE, VALUE
from model_server.model.contributions import PROBABILITY as PROBABILITY_SCALE
from model_server.model.model import FEATURES, Model

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
IDENTITY: Schema = {"model_name": TEXT, "model_version": TEXT}
PROBABILITY: Schema = {"type": "number", "minimum": 0, "maximum": 1}
SCALES: Schema = {"enum": [PROBABILITY_SCALE, MARGIN, VALUE]}
EXPLICIT_ROWS = 3


def component_schemas(model: Model | None, max_rows: int) -> dict[str, Schema]:
    """Return the schemas that the paths refer to; without a model, rows and predictions may have any members."""
    row: Schema = {"type": "object", "additionalProperties": True}
    prediction = single = {"type": "object"}
    request: Schema = {"type": "object", "required": ["inputs"]}
    names: list[str] = []
    datatypes: list[str] = []
    about: Schema = {}
    reason: Schema = {KEY: ref("Contributions")}
    reasons: Schema = {KEY: {"type": "array", "items": ref("Contributions")}}
    if model:
        columns = input_columns(model.signature)
        names = [tensor.name for tensor in model.task.outputs]
        datatypes = [tensor.datatype for tensor in model.task.outputs]
        about = {key: {"const": value} for key, value in model.task.about.items()}
        absent = {column.name for column in columns if column.missing}
        row = object_schema({column.name: column_schema(column) for column in columns}, optional=absent)
        answer = _answer(model)
        if not model.has_contributions:
            reason, reasons = {}, {}
        prediction, single = object_schema(answer), object_schema(reason | answer | about | IDENTITY, optional={KEY})
        request = _inference_request(columns, names, model.has_contributions)
        if model.has_contributions:
            names, datatypes = [*names, KEY], [*datatypes, "FP64"]
    output = {
        "name": {"enum": names} if model else TEXT,
        "datatype": {"enum": datatypes} if model else TEXT,
        "shape": {"type": "array", "items": {"type": "integer"}},
        "data": {"type": "array", "items": {"type": ["number", "boolean"]}},
    }
    outputs = {"type": "array", "items": object_schema(output)}
    row_number = {"type": ["integer", "null"], "minimum": 0, "description": "Row of a batch, counted from 0."}
    return {
        "Row": row,
        "Rows": {"type": "array", "items": ref("Row"), "minItems": 1, "maxItems": max_rows},
        "Prediction": single,
        "Predictions": object_schema(
            {"predictions": {"type": "array", "items": prediction}} | about | IDENTITY | reasons, optional={KEY}
        ),
        "Contributions": _contributions(model),
        "Invocation": _invocation(),
        "Records": object_schema({"predictions": {"type": "array", "items": {"type": "object"}}}),
        "InferenceRequest": request,
        "Inference": object_schema(
            IDENTITY | {"id": TEXT, "outputs": outputs, "parameters": object_schema({SCALE: SCALES})},
            optional={"id", "parameters"},
        ),
        "Error": object_schema({"error": TEXT, "code": TEXT, "field": TEXT_OR_NULL, "row": row_number}),
    }


def _answer(model: Model) -> Schema:
    """Return the members of a prediction."""
    signature = model.signature
    if signature.task == "regression":
        return {target: {"type": "number"} for target in signature.all_targets()}
    if signature.task == "anomaly":
        return {"anomaly": {"type": "boolean"}, "score": {"type": "number"}}
    return {
        "class_index": {"type": "integer", "minimum": 0, "maximum": len(signature.classes) - 1},
        signature.target: {"enum": list(signature.classes)},
        "probabilities": object_schema(dict.fromkeys(signature.classes, PROBABILITY)),
    }


def _contributions(model: Model | None) -> Schema:
    """Return the schema of the contributions of the features to an answer, by class or target."""
    of: Schema = {"type": "object"}
    if model:
        signature = model.signature
        features = object_schema({feature.name: {"type": "number"} for feature in signature.features})
        each = object_schema({"base": {"type": "number"}, "features": features})
        names = signature.classes or signature.all_targets()
        of = object_schema(dict(zip(names, [each] * len(names), strict=True)))
    return object_schema({"scale": SCALES, "of": of})


def _invocation() -> Schema:
    """Return the schema of a request of MLflow's scoring protocol, in those forms whose rows are objects."""
    parameters = {"type": ["object", "null"], "maxProperties": 0}
    forms = [
        object_schema({form: ref("Rows"), PARAMETERS: parameters}, optional={PARAMETERS})
        for form in (*RECORD_FORMS, "inputs")
    ]
    return {"anyOf": forms}


def _inference_request(columns: Sequence[InputColumn], outputs: Sequence[str], explains: bool) -> Schema:
    """Return the schema of a request of a few rows; longer ones have the same form.

    JSON Schema cannot express that a shape is the size of the data, so each number of rows has its own schema.
    """
    forms = _typed_forms(columns) if any(type(column) is not NumberInput for column in columns) else _forms(columns)
    parameters = {
        "type": ["object", "null"],
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    }
    output = object_schema({"name": {"enum": outputs}, "parameters": parameters}, optional={"parameters"})
    members = {
        "id": TEXT_OR_NULL,
        "parameters": parameters | {"properties": {KEY: {"enum": [True, False, None] if explains else [False, None]}}},
        "inputs": {"anyOf": forms},
        "outputs": {"type": ["array", "null"], "items": output, "minItems": 1},
    }
    return object_schema(members, optional={"id", "parameters", "outputs"})


def _forms(columns: Sequence[InputColumn]) -> list[Schema]:
    """Return the forms of inputs that are numbers alone: one tensor, or one for each column."""
    count, forms = len(columns), []
    for types, values in _value_schemas(columns):
        row = _tuple(values)
        forms.append(_tuple([_tensor(FEATURES, types, [1, count], row)]))
        forms += [
            _tuple([_tensor(FEATURES, types, [rows, count], _tuple([row] * rows))])
            for rows in range(1, EXPLICIT_ROWS + 1)
        ]
        forms.append(_tuple([_tensor(c.name, types, [1], _tuple([v])) for c, v in zip(columns, values, strict=True)]))
    return forms


def _typed_forms(columns: Sequence[InputColumn]) -> list[Schema]:
    """Return the forms of other inputs: a tensor for each column, of the datatype that the metadata says."""
    types = {"FP64": FLOATS, "INT64": INTEGERS, "BOOL": BOOLEANS, TEXTS: (TEXTS,)}
    return [
        _tuple([_tensor(c.name, types[c.datatype], [rows], _tuple([_element(c)] * rows)) for c in columns])
        for rows in range(1, EXPLICIT_ROWS + 1)
    ]


def _element(column: InputColumn) -> Schema:
    """Return the schema of a column's values in its tensor."""
    schema = column_schema(column)
    if "type" not in schema:
        return schema
    kinds = [kind for kind in schema["type"] if kind != "boolean"] if isinstance(schema["type"], list) else None
    if isinstance(column, BooleanInput):
        kinds = ["boolean", "null"] if column.missing else ["boolean"]
    return schema | {"type": kinds} if kinds else schema


def _value_schemas(columns: Sequence[InputColumn]) -> Iterator[tuple[Sequence[str], list[Schema]]]:
    """Return groups of datatypes for columns of numbers alone, each with the schemas of the values."""
    schemas = [column_schema(column) for column in columns]
    yield FLOATS, schemas
    yield INTEGERS, [schema | {"type": "integer"} for schema in schemas]
    if all(column.feature.accepts_booleans for column in columns):
        yield BOOLEANS, [{"type": "boolean"}] * len(columns)


def _tensor(name: str, datatypes: Sequence[str], shape: list[int], data: Schema) -> Schema:
    kind = {"enum": list(datatypes)}
    return object_schema({"name": {"const": name}, "datatype": kind, "shape": {"const": shape}, "data": data})


def column_schema(column: InputColumn) -> Schema:
    """Return the schema of a column's values in JSON."""
    feature = column.feature
    seen = f"{column.decode(feature.minimum)} to {column.decode(feature.maximum)} in the training data"
    match column:
        case CategoryInput():
            schema: Schema = {"enum": list(feature.categories)}
            if feature.unknown:
                schema = {"type": ["string"], "examples": schema["enum"], "description": "Others count as missing."}
        case DateInput():
            schema = {"type": ["string"], "format": "date", "description": f"{column.allowed}; {seen}"}
        case BooleanInput():
            schema = {"type": ["boolean", "integer"], "minimum": 0, "maximum": 1}
        case IntegerInput():
            schema = _number(column, "integer", seen)
        case _:
            low, high = f"{feature.minimum:.6g}", f"{feature.maximum:.6g}"
            schema = _number(column, "number", f"{low} to {high} in the training data")
    if column.missing:
        return _or_missing(schema)
    if len(schema.get("type", ())) == 1:
        schema["type"] = schema["type"][0]
    return schema


def _number(column: InputColumn, kind: str, seen: str) -> Schema:
    kinds = [kind, "boolean"] if column.feature.accepts_booleans else [kind]
    return {"type": kinds, "minimum": column.low, "maximum": column.high, "description": seen}


def _or_missing(schema: Schema) -> Schema:
    """Return the schema of values that may also be null."""
    if "enum" in schema:
        return schema | {"enum": [*schema["enum"], None]}
    return schema | {"type": [*schema["type"], "null"]}


def csv_schema(columns: Sequence[InputColumn]) -> Schema:
    """Return a text with a pattern, which covers only some valid files: no pattern covers all forms of a number."""
    header = _csv_line([column.name for column in columns])
    cells = ",".join(
        f"(?:{'|'.join(_literal(_csv_line([value])) for value in examples(column))})" for column in columns
    )
    pattern = f"^{_literal(header)}\\n(?:{cells}\\n){{1,{EXPLICIT_ROWS}}}$"
    description = "A header with the fields in any order, then rows of the same values as in JSON."
    return TEXT | {"description": description, "pattern": pattern}


def examples(column: InputColumn) -> list[Any]:
    """Return the least, the mean and the largest value of the training data."""
    feature = column.feature
    return [column.decode(number) for number in (feature.minimum, feature.mean, feature.maximum)]


def _csv_line(cells: Sequence[Any]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


def _literal(text: str) -> str:
    return re.sub(r"[\\^$.*+?()\[\]{}|/]", r"\\\g<0>", text)


def _tuple(schemas: Sequence[Schema]) -> Schema:
    size = len(schemas)
    return {"type": "array", "prefixItems": list(schemas), "items": False, "minItems": size, "maxItems": size}


def object_schema(properties: Schema, optional: set[str] | frozenset[str] = frozenset()) -> Schema:
    """Return the schema of an object with these properties and no others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def ref(name: str) -> Schema:
    """Return the reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}
