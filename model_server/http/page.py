"""The page at /, with which a person tries the model."""

from __future__ import annotations

import secrets

from flask import render_template

from model_server.http.responses import Response
from model_server.model.model import Model


def render_page(model: Model | None, problem: str | None) -> Response:
    """Return the page; its content security policy allows only the page's own style and script."""
    nonce = secrets.token_urlsafe(16)
    html = render_template("page.html", model=model, problem=problem, nonce=nonce)
    policy = (
        f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = (("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store"))
    return Response(html.encode(), 200, "text/html; charset=utf-8", headers)
