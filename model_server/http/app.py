"""The HTTP transport: routes and headers. What is done is in `dataplane`."""

from __future__ import annotations

import secrets

from flask import Flask, Response, render_template, request
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from model_server import telemetry
from model_server.dataplane import DataPlane
from model_server.http.fast_path import ROUTE
from model_server.http.openapi import API_VERSION, document
from model_server.http.responses import NO_SNIFFING, body, json_answer, refusal
from model_server.settings import Settings

MODEL_PATHS = ("/v2/models/<name>", "/v2/models/<name>/versions/<version>")


def create_app(settings: Settings, plane: DataPlane) -> Flask:
    """The Flask application."""
    app = Flask(__name__, static_folder=None)
    # A redirect to a tidier path would be an answer in HTML.
    app.url_map.merge_slashes = False
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}

    @app.before_request
    def tell_route() -> None:
        if request.url_rule:
            request.environ[ROUTE] = request.url_rule.rule

    @app.post("/score")
    def score() -> Response:
        return json_answer(plane.score(body(settings.max_body_bytes), request.mimetype))

    def infer(name: str, version: str | None = None) -> Response:
        return json_answer(plane.infer(name, version, body(settings.max_body_bytes), request.mimetype))

    def metadata(name: str, version: str | None = None) -> Response:
        return json_answer(plane.metadata(name, version))

    def model_ready(name: str, version: str | None = None) -> Response:
        return json_answer({"name": plane.model(name, version).name, "ready": True})

    for path in MODEL_PATHS:
        app.add_url_rule(f"{path}/infer", view_func=infer, methods=["POST"])
        app.add_url_rule(path, view_func=metadata)
        app.add_url_rule(f"{path}/ready", view_func=model_ready)

    @app.get("/v2")
    def server_metadata() -> Response:
        return json_answer({"name": "model_server", "version": API_VERSION, "extensions": []})

    @app.get("/v2/health/live")
    def live() -> Response:
        return json_answer({"live": True})

    @app.get("/v2/health/ready")
    def ready() -> Response:
        return json_answer(plane.ready())

    @app.get("/metrics")
    def exposition() -> Response:
        return Response(telemetry.exposition(), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    @app.get("/openapi.json")
    def openapi() -> Response:
        return json_answer(document(plane.served(), settings))

    @app.get("/")
    def page() -> Response:
        nonce = secrets.token_urlsafe(16)
        html = render_template("page.html", model=plane.served(), problem=plane.problem, nonce=nonce)
        answer = Response(html, headers=[NO_SNIFFING])
        answer.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        answer.headers["Referrer-Policy"] = "no-referrer"
        answer.headers["Cache-Control"] = "no-store"
        return answer

    app.register_error_handler(Exception, refusal)
    return app
