"""Tokens of programs at the door: models, MLflow, expiry, revocation and rate limits."""

from __future__ import annotations

import re
import secrets
import socket
import ssl
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from tests.waiting import until

from .processes import HOST, DoorProcesses, expires

TOKENS = {name: f"mlp_{secrets.token_urlsafe(32)}" for name in ("iris", "secret", "mlflow", "editor", "old", "fast")}


def grant(target: str, role: str = "reader", seconds: float = 3600) -> dict[str, Any]:
    return {
        "id": f"{target[-4:]}{role[0]}{seconds > 0:d}",
        "for": {target: True},
        "role": role,
        "expires": expires(seconds),
    }


GRANTS = {
    "iris": grant("model:iris"),
    "secret": grant("model:secret"),
    "mlflow": grant("mlflow"),
    "editor": grant("mlflow", "editor"),
    "old": grant("model:iris", seconds=-1),
    "fast": grant("model:iris"),
}


def score(door: DoorProcesses, token: str, model: str = "iris") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{door.url}/models/{model}/score", json={}, headers=headers, verify=str(door.ca), timeout=30)


def pipelined(door: DoorProcesses, token: str, requests_sent: int) -> list[int]:
    """Send requests at once on one connection, and return the statuses of the answers."""
    head = f"POST /models/iris/score HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
    context = ssl.create_default_context(cafile=str(door.ca))
    with socket.create_connection((HOST, door.port)) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        tls.sendall(f"{head}Content-Length: 0\r\n\r\n".encode() * (requests_sent - 1))
        tls.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: tls.recv(1 << 16), b""))
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", received)]


@pytest.fixture(scope="module", autouse=True)
def granted(door: DoorProcesses) -> None:
    door.write_tokens({TOKENS[name]: GRANTS[name] for name in TOKENS})
    until(lambda: score(door, TOKENS["iris"]).status_code == 200, seconds=30, what="the tokens")


def test_token_opens_its_model_alone(door: DoorProcesses) -> None:
    assert score(door, TOKENS["iris"]).json()["path"] == "/score"
    assert score(door, TOKENS["iris"], "secret").status_code == 403
    assert score(door, TOKENS["secret"], "secret").status_code == 200
    for path in ("/", "/mlflow/", "/monitoring/x"):
        headers = {"Authorization": f"Bearer {TOKENS['iris']}"}
        assert requests.get(door.url + path, headers=headers, verify=str(door.ca), timeout=30).status_code == 403


@pytest.mark.parametrize("text", ["", "mlp_", f"mlp_{'A' * 43}", "Basic eDp5", "mlp_" + "é" * 43])
def test_unknown_token_is_refused(door: DoorProcesses, text: str) -> None:
    headers = {"Authorization": f"Bearer {text}".encode()}
    answer = requests.post(f"{door.url}/models/iris/score", headers=headers, verify=str(door.ca), timeout=30)
    assert answer.status_code == 401
    assert score(door, TOKENS["old"]).status_code == 401


def test_token_never_reaches_a_service_or_a_log(door: DoorProcesses) -> None:
    answer = score(door, TOKENS["iris"])
    assert "authorization" not in {name.lower() for name in answer.json()["headers"]}
    assert score(door, TOKENS["iris"], "secret").status_code == 403
    assert not any(token in door.log(name) for token in TOKENS.values() for name in ("nginx", "sign-on", "start-page"))
    assert TOKENS["iris"] not in (door.folder / "tokens.json").read_text()


def test_mlflow_client_reads_with_a_token(door: DoorProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(door.ca))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKENS["editor"])
    client = MlflowClient(f"{door.url}/mlflow")
    run = client.create_run(client.create_experiment(f"by-{secrets.token_hex(4)}"))
    client.log_text(run.info.run_id, "text", "note.txt")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKENS["mlflow"])
    assert client.get_run(run.info.run_id).info.run_id == run.info.run_id
    with pytest.raises(Exception, match=r"403|[Pp]ermission"):
        client.create_experiment(f"no-{secrets.token_hex(4)}")


def test_token_beyond_its_rate_is_answered_429_and_others_go_on(door: DoorProcesses) -> None:
    statuses = pipelined(door, TOKENS["fast"], requests_sent=300)
    assert set(statuses) == {200, 429}
    assert statuses[:21] == [200] * 21
    assert score(door, TOKENS["iris"]).status_code == 200


def test_revoked_token_is_refused_without_a_lost_request(door: DoorProcesses) -> None:
    with door.session() as session:
        door.write_tokens({TOKENS[name]: GRANTS[name] for name in TOKENS if name != "secret"})
        statuses = []

        def revoked() -> bool:
            statuses.append(session.post(f"{door.url}/models/rose/score", json={}).status_code)
            return score(door, TOKENS["secret"], "secret").status_code == 401

        until(revoked, seconds=30, what="the end of the token")
    assert set(statuses) <= {200, 429}
