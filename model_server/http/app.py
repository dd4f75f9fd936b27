"""The Flask application: serves every route, with HEAD, OPTIONS, 404 and 405."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import flask

from model_server.dataplane import JSON
from model_server.http.body import BodyReader
from model_server.http.responses import Response, as_response, error_response
from model_server.http.routes import Request, Route

ROUTE = "model_server.route"
"""Key of the WSGI environment for the path of the matched route."""


def create_app(table: Sequence[Route], bodies: BodyReader) -> flask.Flask:
    """Return the application for the routes of the table."""
    app = flask.Flask(__name__, static_folder=None)
    # A redirect to a normalised path would be a response in HTML.
    app.url_map.merge_slashes = False
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}

    @app.before_request
    def note_route() -> None:
        if flask.request.url_rule:
            flask.request.environ[ROUTE] = flask.request.url_rule.rule

    for route in table:
        endpoint = f"{route.method} {route.path}"
        app.add_url_rule(route.path, endpoint, _view(route, bodies), methods=[route.method])
    app.register_error_handler(Exception, lambda error: _to_flask(error_response(error)))
    return app


def _view(route: Route, bodies: BodyReader) -> Callable[..., flask.Response]:
    def view(**parameters: str) -> flask.Response:
        environ = flask.request.environ
        body = bodies.read(environ) if route.method == "POST" else b""
        request = Request(environ, flask.request.mimetype or JSON, parameters, body)
        return _to_flask(as_response(route.respond(request)))

    return view


def _to_flask(response: Response) -> flask.Response:
    return flask.Response(response.body, response.status, response.header_list())
