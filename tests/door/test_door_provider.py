"""The door with an OpenID Connect provider: a real one with HTTPS, as a process."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from airgap.bundle.registry.certificates import issue_authority, issue_server
from infra.local.free_ports import free_port
from settings.services.door_settings import DoorSettings
from settings.services.team_settings import TeamSettings
from tests.waiting import until

from .processes import HOST, MODELS, DoorProcesses, answers, process, running_door

CURRENT = "/mlflow/api/2.0/mlflow/users/get?username="
CREATE = "/mlflow/api/2.0/mlflow/experiments/create"


@pytest.fixture(scope="module")
def provider_door(folder: Path, mlflow_url: str) -> Iterator[DoorProcesses]:
    """Yield a door with a provider; each has a certificate of a separate authority."""
    files, port = folder / "provider-door", free_port()
    files.mkdir()
    authority = issue_authority("provider CA")
    server = issue_server(authority, "provider", [HOST])
    certificate, key, ca = (files / name for name in ("provider.crt", "provider.key", "provider-ca.crt"))
    for file, content in ((certificate, server.certificate), (key, server.key), (ca, authority.certificate)):
        file.write_bytes(content)
    settings = DoorSettings.model_validate(
        {
            "host": HOST,
            "oidc": {
                "issuer": f"https://{HOST}:{port}",
                "client": "door",
                "client_secret": "door-secret",
                "groups": {"ml-admins": "administrator", "ml-editors": "editor"},
                "ca_file": str(ca),
            },
        }
    )
    with ExitStack() as stack:
        process(
            stack,
            files,
            "provider",
            [sys.executable, "-m", "tests.door.provider", str(port), str(certificate), str(key)],
        )
        until(lambda: answers(f"https://{HOST}:{port}/jwks", verify=str(ca)), what="the provider")
        teams = {
            "flora": TeamSettings.model_validate(
                {"groups": ["ml-flora"], "people": ["Amy.Miller@example.COM", "kai@example.com"]}
            )
        }
        models = {"iris": replace(MODELS["iris"], team="flora")}
        yield stack.enter_context(running_door(files, settings, mlflow_url, models, teams))


def sign_on(door: DoorProcesses, person: str) -> tuple[requests.Session, requests.Response]:
    """Sign on as a browser does: to the provider, its form, and back; return the answer to the address of the start."""
    session = door.session()
    form = session.get(f"{door.url}/mlflow/", allow_redirects=False)
    start = session.get(door.url + form.headers["Location"], allow_redirects=False)
    provider = start.headers["Location"]
    session.verify = str(door.folder / "provider-ca.crt")
    consent = session.post(provider, data={"sub": person}, allow_redirects=False)
    session.verify = str(door.ca)
    return session, session.get(consent.headers["Location"])


def test_sign_on_asks_the_provider_with_state_nonce_and_pkce(provider_door: DoorProcesses) -> None:
    start = provider_door.session().get(f"{provider_door.url}/oauth2/start?rd=%2F", allow_redirects=False)
    query = parse_qs(urlsplit(start.headers["Location"]).query)
    assert query["redirect_uri"] == [f"{provider_door.url}/oauth2/callback"]
    assert query["code_challenge_method"] == ["S256"]
    assert {"state", "nonce", "code_challenge"} <= query.keys()


def test_groups_of_the_provider_give_the_role(provider_door: DoorProcesses) -> None:
    session, answer = sign_on(provider_door, "eve")
    assert (answer.status_code, answer.url) == (200, f"{provider_door.url}/mlflow/")
    page = session.get(f"{provider_door.url}/")
    assert "eve@example.com, editor" in page.text
    assert session.get(f"{provider_door.url}{CURRENT}eve@example.com").json()["user"]["is_admin"] is False
    administrator, _ = sign_on(provider_door, "ada")
    assert administrator.get(f"{provider_door.url}{CURRENT}ada@example.com").json()["user"]["is_admin"] is True


def test_groups_of_the_provider_give_the_teams(provider_door: DoorProcesses) -> None:
    for person, status in {"fay": 200, "eve": 403, "ada": 200}.items():
        session, _ = sign_on(provider_door, person)
        assert session.get(f"{provider_door.url}/models/iris/").status_code == status, person


def test_address_with_capitals_is_that_of_the_settings(provider_door: DoorProcesses) -> None:
    session, _ = sign_on(provider_door, "amy")
    assert session.get(f"{provider_door.url}/models/iris/").status_code == 200
    assert "amy.miller@example.com, editor" in session.get(f"{provider_door.url}/").text
    assert session.get(f"{provider_door.url}{CURRENT}amy.miller@example.com").json()["user"]["is_admin"] is False
    until(partial(has_actions, provider_door, "amy.miller@example.com", {"signed in"}), what="the entry")


def test_letter_that_only_looks_like_ascii_is_no_address_of_the_settings(provider_door: DoorProcesses) -> None:
    """Try the Kelvin sign, whose lower case is the letter k."""
    session, answer = sign_on(provider_door, "kai")
    assert answer.status_code == 403
    assert session.get(f"{provider_door.url}/models/iris/").status_code == 403


def test_person_without_a_group_of_the_settings_is_refused(provider_door: DoorProcesses) -> None:
    session, answer = sign_on(provider_door, "uma")
    assert answer.status_code == 403
    assert "No access" in answer.text
    assert session.get(f"{provider_door.url}/models/iris/").status_code == 403


def test_group_with_a_comma_is_not_two_groups(provider_door: DoorProcesses) -> None:
    session, answer = sign_on(provider_door, "max")
    assert answer.status_code == 403
    assert session.get(f"{provider_door.url}/").status_code == 403


def test_audit_log_has_the_person_of_the_provider(provider_door: DoorProcesses) -> None:
    for person, wanted in {"eve": {"signed in"}, "uma": {"signed in", "denied"}}.items():
        sign_on(provider_door, person)
        user = f"{person}@example.com"
        until(partial(has_actions, provider_door, user, wanted), what="the entries")
    sign_on(provider_door, "una")
    until(partial(has_actions, provider_door, "", {"sign-on failed"}), what="the entry")
    shown = str(provider_door.entries()) + provider_door.log("nginx")
    assert not [word for word in ("code=", "state=", "door-secret") if word in shown]


def has_actions(door: DoorProcesses, user: str, wanted: set[str]) -> bool:
    return wanted <= {each["action"] for each in door.entries() if each["user"] == user}


def test_unverified_address_is_refused(provider_door: DoorProcesses) -> None:
    session, answer = sign_on(provider_door, "una")
    assert answer.status_code in (401, 403, 500)
    assert session.get(f"{provider_door.url}/", headers={"Accept": "application/json"}).status_code == 401


def test_name_of_a_program_gets_nothing_from_mlflow(provider_door: DoorProcesses) -> None:
    _, answer = sign_on(provider_door, "pat")
    assert answer.status_code == 403


def test_callback_in_another_browser_gets_no_session(provider_door: DoorProcesses) -> None:
    """Take the address to return to from one browser into another one, as an attack on the session does."""
    victim, attacker = provider_door.session(), provider_door.session()
    start = attacker.get(f"{provider_door.url}/oauth2/start?rd=%2F", allow_redirects=False)
    attacker.verify = str(provider_door.folder / "provider-ca.crt")
    consent = attacker.post(start.headers["Location"], data={"sub": "ada"}, allow_redirects=False)
    answer = victim.get(consent.headers["Location"])
    assert answer.status_code == 403
    assert victim.get(f"{provider_door.url}/", headers={"Accept": "application/json"}).status_code == 401


def test_password_form_does_not_exist_beside_a_provider(provider_door: DoorProcesses) -> None:
    login = {"username": "anna", "password": "correct horse"}
    answer = provider_door.session().post(
        f"{provider_door.url}/oauth2/sign_in", data=login, headers={"Origin": provider_door.url}, allow_redirects=False
    )
    assert answer.status_code == 401
    assert not answer.cookies
