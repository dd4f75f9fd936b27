"""Requests of MLflow's scoring protocol in JSON, as the clients of `mlflow models serve` send them."""

from __future__ import annotations

from typing import Any

from model_server.codecs.inference_protocol import check_members, unexpected_member
from model_server.codecs.json_decoder import decode_json, first_duplicate, is_object
from model_server.errors import RequestError

RECORD_FORMS = ("dataframe_records", "instances")
FORMS = ("dataframe_split", *RECORD_FORMS, "inputs")
PARAMETERS = "params"


def decode_records(body: bytes) -> list[Any]:
    """Return the rows of a request as objects with a key for each column; they are still unchecked.

    Raises:
        RequestError: the body is no request of this protocol.
    """
    content = decode_json(body)
    if not is_object(content):
        raise unexpected_member(None, "an object", content)
    forms = [form for form in FORMS if form in content]
    if len(forms) != 1:
        message = f"the body: expected exactly one of {', '.join(FORMS)}, got {', '.join(forms) or 'none of them'}"
        raise RequestError(422, "missing_field", message)
    (form,) = forms
    check_members(content, "", required={form}, optional={PARAMETERS})
    if content.get(PARAMETERS, {}) != {}:
        raise unexpected_member(PARAMETERS, "null or an empty object, because the model has none", content[PARAMETERS])
    data = content[form]
    if form == "dataframe_split":
        return _split_records(data)
    if form == "inputs" and not isinstance(data, list):
        return _column_records(data)
    if not isinstance(data, list):
        raise unexpected_member(form, "a list of objects", data)
    return data


def _split_records(data: Any) -> list[Any]:
    """Return the rows of a DataFrame that pandas wrote with the orientation `split`; its index is ignored."""
    path = "dataframe_split"
    check_members(data, path, required={"columns", "data"}, optional={"index"})
    columns, rows = data["columns"], data["data"]
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise unexpected_member(f"{path}.columns", "a list of texts", columns)
    if (name := first_duplicate(columns)) is not None:
        name = name[:100]
        raise RequestError(422, "duplicate_field", f"{path}.columns has {name!r} twice", field=name)
    if not isinstance(rows, list):
        raise unexpected_member(f"{path}.data", "a list of rows", rows)
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            message = f"{path}.data[{number}]: expected a list of {len(columns)} values, one for each of the columns"
            raise RequestError(422, "wrong_column_count", message, row=number)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _column_records(data: Any) -> list[Any]:
    """Return the rows of an object with a list of values for each column."""
    if not is_object(data) or not data:
        raise unexpected_member("inputs", "a list of objects, or an object with a list for each column", data)
    for name, values in data.items():
        if not isinstance(values, list):
            raise unexpected_member(f"inputs.{name[:100]}", "a list of values", values)
    if len({len(values) for values in data.values()}) > 1:
        raise RequestError(422, "bad_shape", "the inputs differ in their number of rows", field="inputs")
    return [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
