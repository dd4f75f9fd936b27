"""The password of a registry's token, from a server that responds like Azure's management API."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from infra.azure.registry_token import _TokenPasswordProvider
from infra.dynamic_provider import UserError

REGISTRY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerRegistry/registries/r"
TOKEN = f"{REGISTRY}/tokens/nodes"


class Management(HTTPServer):
    """Returns 202 first and then the password; or 403 with the body `refusal`."""

    refusal: str = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, str, str, str]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Management
    pause = "0"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.requests.append(("POST", self.path, self.headers["Authorization"], body))
        if self.server.refusal:
            self._answer(403, self.server.refusal)
        else:
            self._answer(202, "", {"Location": f"{self.server.url}/operations/1", "Retry-After": self.pause})

    def do_GET(self) -> None:
        self.server.requests.append(("GET", self.path, self.headers["Authorization"], ""))
        self._answer(200, json.dumps({"username": "nodes", "passwords": [{"name": "password1", "value": "pull-me"}]}))

    def _answer(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def management() -> Iterator[Management]:
    with Management() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def inputs(management: Management) -> dict[str, str]:
    return {"registry": REGISTRY, "token": TOKEN, "bearer": "b3arer", "management": management.url}


def test_create_waits_for_the_password_of_the_registry(management: Management) -> None:
    result = _TokenPasswordProvider().create(inputs(management))
    assert result.outs is not None
    assert result.outs["value"] == "pull-me"
    (_, path, authorization, body), (method, operation, _, _) = management.requests
    assert path == f"{REGISTRY}/generateCredentials?api-version=2023-07-01"
    assert authorization == "Bearer b3arer"
    assert json.loads(body) == {"tokenId": TOKEN, "name": "password1"}
    assert (method, operation) == ("GET", "/operations/1")


def test_create_with_a_date_in_retry_after_waits(management: Management, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "pause", "Thu, 26 Nov 2026 00:00:00 GMT")
    result = _TokenPasswordProvider().create(inputs(management))
    assert result.outs is not None
    assert result.outs["value"] == "pull-me"


def test_create_does_not_return_the_access_token(management: Management) -> None:
    result = _TokenPasswordProvider().create(inputs(management))
    assert "b3arer" not in json.dumps(result.outs)


def test_create_with_a_refusal_raises_with_azures_message(management: Management) -> None:
    management.refusal = '{"error": {"code": "AuthorizationFailed"}}'
    with pytest.raises(UserError, match=r"Azure answered 403: .*AuthorizationFailed") as error:
        _TokenPasswordProvider().create(inputs(management))
    assert "b3arer" not in str(error.value)


def test_diff_replaces_the_password_of_another_token_only() -> None:
    old = {"registry": REGISTRY, "token": TOKEN, "value": "pull-me"}
    later = {"registry": REGISTRY, "token": TOKEN, "bearer": "of-a-later-run", "management": "m"}
    assert not _TokenPasswordProvider().diff("id", old, later).changes
    assert _TokenPasswordProvider().diff("id", old, later | {"token": f"{TOKEN}-2"}).replaces == ["token"]
