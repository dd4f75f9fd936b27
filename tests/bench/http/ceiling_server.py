"""The model server without its work: the same WSGI server with the same workers and options.

`python -m tests.bench.http.ceiling_server wsgi` answers every POST with a constant from a bare WSGI function, which
nothing that granian serves can outdo. With `flask` a Flask route answers it: what Flask alone costs, but no upper
bound for a server that answers some requests before Flask sees them. Takes the environment variables of the model
server.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING
from unittest.mock import patch

from model_server.__main__ import main
from model_server.settings import ServerSettings

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ANSWER = {"class_index": 0, "species": "setosa", "probabilities": {"setosa": 1.0, "versicolor": 0.0, "virginica": 0.0}}
CONTENT = json.dumps(ANSWER).encode()
HEADERS = [("Content-Type", "application/json"), ("Content-Length", str(len(CONTENT)))]


def load_wsgi(_settings: ServerSettings) -> WSGIApplication:
    """Return the application of a worker, which replaces the model server's."""

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        start_response("200 OK", HEADERS)
        return [CONTENT]

    gc.freeze()  # as the model server does
    return answer


def load_flask(_settings: ServerSettings) -> WSGIApplication:
    """Return the application of a worker, which replaces the model server's."""
    from flask import Flask

    app = Flask(__name__)

    @app.post("/score")
    def score() -> dict[str, object]:
        return ANSWER

    gc.freeze()  # as the model server does
    return app


if __name__ == "__main__":
    with patch("model_server.http.worker.load_application", {"wsgi": load_wsgi, "flask": load_flask}[sys.argv[1]]):
        sys.exit(main([]))
