"""Responses and the log contain no secret that a registry, a URL or a model may contain."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from model_server.redaction import redact
from tests.server.running import HOST, running, wait_until

PASSWORD, TOKEN = "hunter2", "tok-8f3a91"


@contextmanager
def registry(respond: dict[str, tuple[int, Any]]) -> Iterator[str]:
    """Serve these statuses and bodies by the end of the path; return the URL, which contains a password."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            status, body = next((value for end, value in respond.items() if path.endswith(end)), (404, TOKEN))
            self.send_response(status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://reader:{PASSWORD}@{HOST}:{server.server_port}"
        server.shutdown()


def version(**members: Any) -> tuple[int, Any]:
    return 200, {"model_version": {"version": "3"} | members}


URI = "get-download-uri"
ALIAS = "registered-models/alias"
CASES: dict[str, tuple[dict[str, tuple[int, Any]], str]] = {
    "403 with a token": ({ALIAS: (403, f'{{"message": "token={TOKEN} has expired"}}')}, "responded 403"),
    "500 with a header": ({ALIAS: (500, f"Authorization: Bearer {TOKEN}")}, "responded 500"),
    "not JSON": ({ALIAS: (200, f"<html>password={TOKEN}</html>")}, "is not JSON"),
    "another form": ({ALIAS: (200, {"token": f"token: {TOKEN}"})}, "response is not valid"),
    "no number": ({ALIAS: version(version=f"token={TOKEN}")}, "response is not valid"),
    "another scheme": (
        {ALIAS: version(), URI: (200, {"artifact_uri": f"s3://key:{TOKEN}@bucket/path"})},
        "does not serve its files as artifacts",
    ),
    "files refused": (
        {ALIAS: version(), URI: (200, {"artifact_uri": "mlflow-artifacts:/1"}), ".onnx": (401, f"secret: {TOKEN}")},
        "responded 401 to model.onnx of version 3",
    ),
}


@pytest.mark.parametrize(("responses", "reason"), CASES.values(), ids=CASES)
def test_registry_error_with_secrets_is_generic_in_responses_and_redacted_in_log(
    responses: dict[str, tuple[int, Any]], reason: str, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with registry(responses) as url:
        settings = {"REGISTRY": url, "MODEL": "iris", "ALIAS": "champion", "CACHE": tmp_path / "cache", "WORKERS": 1}
        with running(log, **settings) as server:
            wait_until(lambda: reason in server.get("/v2/health/ready").text, "the reason is not given")
            public = [server.get(path).text for path in ("/", "/v2/health/ready", "/v2/models/iris/ready", "/metrics")]
            public.append(server.score({}).text)
    assert reason in log.read_text()
    for text in (*public, log.read_text()):
        assert PASSWORD not in text
        assert TOKEN not in text


def test_registry_error_detail_is_logged(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with registry({ALIAS: (403, "the licence has expired")}) as url:
        settings = {"REGISTRY": url, "MODEL": "iris", "ALIAS": "champion", "CACHE": tmp_path / "cache", "WORKERS": 1}
        with running(log, **settings) as server:
            assert "licence" not in server.get("/v2/health/ready").text
    assert "responded 403 to registered-models/alias for the model iris (the licence has expired)" in log.read_text()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("at http://user:pa@ss@host:80/path", "at http://***@host:80/path"),
        ("Authorization: Bearer abc.def-1", "Authorization=*** ***"),
        ("proxy said Basic dXNlcjpwYXNz", "proxy said Basic ***"),
        ('{"api_key": "a b", "user": "me"}', '{"api_key=***, "user": "me"}'),
        ("?sas_token=abc&x=1", "?sas_token=***&x=1"),
        ("two\nlines", "two lines"),
        ("the model iris responded 404", "the model iris responded 404"),
    ],
)
def test_redact_removes_secrets_only(text: str, expected: str) -> None:
    assert redact(text) == expected
