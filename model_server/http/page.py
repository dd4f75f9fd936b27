"""The page at /, with which a person tries the model."""

from __future__ import annotations

import secrets
from typing import Any, NamedTuple

from flask import render_template

from model_server.catalog import ModelCatalog
from model_server.codecs.base_column import InputColumn
from model_server.codecs.input_columns import input_columns
from model_server.http.openapi_schemas import examples
from model_server.http.responses import Response
from model_server.model.model import Model


class _Field(NamedTuple):
    """A field of the form: its column, the type of the column, and three values of the training data."""

    column: InputColumn
    type: str
    minimum: Any
    average: Any
    maximum: Any


def render_page(catalog: ModelCatalog, *, is_root: bool) -> Response:
    """Return the page of the first model, with links to the others.

    Its content security policy allows only the page's own style and script.
    """
    nonce = secrets.token_urlsafe(16)
    model, others = catalog.first.model, [plane.name for plane in catalog.models[1:]]
    html = render_template(
        "page.html",
        model=model,
        problem=catalog.first.problem,
        nonce=nonce,
        fields=model and _fields(model),
        others=others,
        is_root=is_root,
    )
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = (("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"))
    return Response(html.encode(), 200, "text/html; charset=utf-8", headers)


def _fields(model: Model) -> list[_Field]:
    signature = model.signature
    return [_Field(column, signature.type_of(column.feature), *examples(column)) for column in input_columns(signature)]
