"""Notebooks behind the door: who opens which server, and what the servers get of a request."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests

from settings.services.door_settings import DoorSettings

from .processes import HOST, NOTEBOOKS_KEY, DoorProcesses, expires, running_door

HUB, OWN, OTHER = "/notebooks/hub/home", "/notebooks/user/ed/lab", "/notebooks/user/anna/lab"


@pytest.fixture(scope="module")
def door(folder: Path) -> Iterator[DoorProcesses]:
    """Yield a door without MLflow, which takes longer to start than all of these tests."""
    files = folder / "notebook-door"
    files.mkdir()
    with running_door(files, DoorSettings(host=HOST), f"http://{HOST}:1", {}) as running:
        yield running


@pytest.fixture(scope="module")
def editor(door: DoorProcesses) -> requests.Session:
    return door.signed_in("ed")


@pytest.fixture(scope="module")
def administrator(door: DoorProcesses) -> requests.Session:
    return door.signed_in("anna")


def raw(
    door: DoorProcesses, session: requests.Session, path: str, headers: Mapping[str, str] = {}, method: str = "GET"
) -> tuple[int, Any]:
    """Return the status and the answer of a request whose path no client library changes."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in session.cookies)
    context = ssl.create_default_context(cafile=str(door.ca))
    connection = http.client.HTTPSConnection(HOST, door.port, context=context, timeout=30)
    connection.request(method, path, headers={"Cookie": cookies, **headers})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, json.loads(content) if answer.status == 200 else content


def test_hub_gets_the_person_and_its_own_key(door: DoorProcesses, editor: requests.Session) -> None:
    headers = editor.get(door.url + HUB).json()["headers"]
    assert (headers["X-Door-User"], headers["X-Door-Role"], headers["X-Door-Key"]) == ("ed", "editor", NOTEBOOKS_KEY)


def test_server_gets_no_key_and_no_session_of_the_door(door: DoorProcesses, editor: requests.Session) -> None:
    cookies = {"jupyterhub-user-ed": "token", "_xsrf": "x", "other": "y"}
    answer = editor.get(door.url + OWN, cookies=cookies, headers={"X-Door-Key": "guess"})
    headers = answer.json()["headers"]
    assert [name for name in headers if name.startswith("X-Door")] == []
    assert sorted(headers["Cookie"].split("; ")) == ["_xsrf=x", "jupyterhub-user-ed=token"]


def test_server_sets_only_its_own_cookies(door: DoorProcesses, editor: requests.Session) -> None:
    answer = editor.get(door.url + OWN)
    assert answer.headers["Set-Cookie"] == "jupyterhub-user-sam=mine; Path=/notebooks/user/sam/"


def test_notebooks_are_for_editors_and_administrators(
    door: DoorProcesses, editor: requests.Session, administrator: requests.Session
) -> None:
    sessions = {"anna": administrator, "ed": editor, "rob": door.signed_in("rob")}
    statuses = {who: session.get(door.url + HUB).status_code for who, session in sessions.items()}
    assert statuses == {"anna": 200, "ed": 200, "rob": 403}
    assert door.session().get(door.url + HUB, allow_redirects=False).headers["Location"].startswith("/oauth2/sign_in")
    assert editor.get(f"{door.url}/notebooks/", allow_redirects=False).headers["Location"] == "/notebooks/hub/"


@pytest.mark.parametrize(
    "path",
    [
        OTHER,
        "/notebooks/user%2Fanna/lab",
        "/notebooks/user/%61nna/lab",
        "/notebooks/user/ed/../anna/lab",
        "/notebooks/user/anna/../ed/lab",
        "/notebooks/user/anna/%2e%2e/ed/lab",
        "/notebooks/user/anna%2f..%2fed/lab",
        "/notebooks/hub/../user/anna/lab",
        "/notebooks/user/ed/../../hub/home",
        "/notebooks/user/anna/../../hub/home",
        "/notebooks//user/anna/lab",
        "/notebooks/user//anna/lab",
        "/notebooks/user/ed/..\\anna/lab",
        "/notebooks/user/ed/\\..\\..\\anna/lab",
        "/notebooks/user/ed/\\%2e%2e\\../anna/lab",
        "/notebooks/hub/..\\..\\user\\anna/lab",
        "/notebooks/other/",
    ],
)
def test_server_of_another_person_is_refused_by_every_path(
    door: DoorProcesses, editor: requests.Session, path: str
) -> None:
    assert raw(door, editor, path)[0] in (403, 404)


def test_server_of_another_person_is_closed_to_administrators(
    door: DoorProcesses, administrator: requests.Session
) -> None:
    assert raw(door, administrator, OTHER)[0] == 200
    assert raw(door, administrator, OWN)[0] == 403


def test_connection_of_a_kernel_is_passed_on_for_the_same_site_only(
    door: DoorProcesses, editor: requests.Session
) -> None:
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Origin": door.url}
    status, echoed = raw(door, editor, OWN, upgrade)
    assert (status, echoed["headers"]["Upgrade"], echoed["headers"]["Connection"]) == (200, "websocket", "upgrade")
    assert raw(door, editor, OWN, {**upgrade, "Origin": "https://evil.example"})[0] == 403


def test_token_opens_no_notebook(door: DoorProcesses) -> None:
    text = "mlp_" + "n" * 43
    grant = {"id": "n1", "team": "ops", "for": {"mlflow": True}, "role": "editor", "expires": expires()}
    door.serve_tokens({text: grant})
    session = door.session()
    session.headers["Authorization"] = f"Bearer {text}"
    assert session.get(door.url + HUB).status_code == 401
