"""The audit log of the door: what it has after sign-ons, denials and the use of tokens, and what it never has."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
from mlplatform.audit_log.audit_store import LEFT_OUT
from playwright.sync_api import Browser, expect

from tests.waiting import until

from .processes import HOST, LINES_BYTES, PASSWORDS, DoorProcesses, expires
from .test_door_notebooks import raw
from .test_start_page import opened, require_readable, sign_in

TOKEN = f"mlp_{secrets.token_urlsafe(32)}"
GRANT = {"id": "0a1b2c3d", "team": "shop", "for": {"model:iris": True}, "role": "reader", "expires": expires()}

MOST_CLOSED = 12
"""Files of lines that serve.sh keeps."""


def score(door: DoorProcesses, token: str, model: str = "iris") -> int:
    headers = {"Authorization": f"Bearer {token}"}
    url = f"{door.url}/models/{model}/score?key=QUERY-SECRET"
    answer = requests.post(url, json={"body": "BODY-SECRET"}, headers=headers, verify=str(door.ca), timeout=30)
    return answer.status_code


def found(door: DoorProcesses, action: str, **search: str) -> dict[str, Any]:
    """Wait for an entry with this action and return it."""
    entry: dict[str, Any] = until(
        lambda: next((each for each in door.entries(**search) if each["action"] == action), None),
        what="the entry",
    )
    return entry


def test_sign_on_and_sign_out_have_the_person(door: DoorProcesses) -> None:
    session = door.signed_in("rob")
    session.post(f"{door.url}/door/sign-out", headers={"Origin": door.url})
    for action, path in (("signed in", "/oauth2/sign_in"), ("signed out", "/door/sign-out")):
        entry = found(door, action, user="rob")
        assert (entry["target"], entry["address"]) == (path, HOST)


def test_failed_sign_on_names_no_one(door: DoorProcesses) -> None:
    form = {"username": "NAME-SECRET", "password": "WORD-SECRET", "rd": "/"}
    door.session().post(f"{door.url}/oauth2/sign_in", data=form, headers={"Origin": door.url})
    entry = found(door, "sign-on failed")
    assert entry["user"] == ""


def test_denial_has_the_person_and_the_path(door: DoorProcesses) -> None:
    assert door.signed_in("ed").get(f"{door.url}/models/secret/?key=QUERY-SECRET").status_code == 403
    entry = found(door, "denied", user="ed")
    assert (entry["target"], entry["detail"]) == ("/models/secret/", "GET 403")


def test_use_and_denial_of_a_token_have_its_id_and_team(door: DoorProcesses) -> None:
    door.serve_tokens({TOKEN: GRANT})
    with door.session() as kept:
        kept.headers["Authorization"] = f"Bearer {TOKEN}"
        assert [kept.post(f"{door.url}/models/iris/score", json={}).status_code for _ in range(5)] == [200] * 5
    assert score(door, TOKEN, "secret") == 403
    used = found(door, "used a token", user="token.0a1b2c3d")
    assert (used["target"], used["team"]) == ("/models/iris/", "shop")
    denied = found(door, "denied", user="token.0a1b2c3d")
    assert denied["target"] == "/models/secret/score"


def test_entries_of_the_time_without_the_log_arrive_once(door: DoorProcesses) -> None:
    paths = [f"/notebooks/hub/{number}" for number in range(50)]
    session = door.signed_in("rae")
    door.end_audit_log()
    assert {session.get(door.url + path).status_code for path in paths} == {403}
    door.start_audit_log()

    def arrived() -> dict[str, int]:
        """Return the counts of the entries by path, once all are there."""
        counts = {each["target"]: each["count"] for each in until(lambda: door.entries(user="rae"), seconds=120)}
        return counts if counts.keys() >= set(paths) else {}

    counts = until(arrived, seconds=120, what="the entries")
    assert {path: counts[path] for path in paths} == dict.fromkeys(paths, 1)


def test_lines_are_bounded_while_the_log_is_away_and_the_oldest_are_kept(door: DoorProcesses) -> None:
    session = door.signed_in("rae")
    door.end_audit_log()
    lines = door.folder / "lines"
    current = lines / "current.log"
    # Without further requests, the door then closes no file beside those of the test.
    until(lambda: current.exists() and current.stat().st_size <= LINES_BYTES, seconds=60, what="the end of a full file")
    waiting = len([*lines.glob("*.closed")])
    for number in range(waiting, MOST_CLOSED):
        text = {"id": f"kept-{number}", "time": datetime.now(UTC).isoformat(), "address": "", "user": "rae", "team": ""}
        text |= {"method": "GET", "path": f"/kept/{number}", "status": 403}
        (lines / f"{number}.closed").write_text(json.dumps(text) + "\n")

    def flooded() -> bool:
        for _ in range(40):
            session.get(f"{door.url}/notebooks/hub/{'flood' * 100}")
        return (lines / "left_out.log").exists()

    until(flooded, seconds=120, what="the end of a file of lines")
    assert len([*lines.glob("*.closed")]) == MOST_CLOSED
    door.start_audit_log()
    assert found(door, LEFT_OUT, contains=" lines")["detail"].removesuffix(" lines").isdecimal()
    assert len(door.entries(user="rae", contains="/kept/")) == MOST_CLOSED - waiting
    until(lambda: not [*lines.glob("*.closed")], seconds=120, what="the end of the closed files")


def test_path_of_a_caller_forges_no_entry(door: DoorProcesses) -> None:
    path = '/notebooks/hub/","user":"anna","status":302,"x":"%0a{}'
    assert raw(door, door.signed_in("rae"), path)[0] == 403
    until(lambda: door.entries(user="rae", contains='"x":"%0a{}'), seconds=30, what="the entry")
    assert door.entries(user="anna", contains="%0a") == []


@pytest.mark.parametrize("separator", ["\u2028", "\x85"], ids=["line separator", "next line"])
def test_separator_of_lines_in_a_path_hides_no_entry(door: DoorProcesses, separator: str) -> None:
    number = secrets.token_hex(4)
    request = f"GET /mlflow/{separator}{number} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
    context = ssl.create_default_context(cafile=str(door.ca))
    with socket.create_connection((HOST, door.port)) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        tls.sendall(request.encode())
        assert tls.recv(1 << 16).startswith(b"HTTP/1.1 401 ")
    until(lambda: door.entries(contains=number), seconds=30, what="the entry")


def test_sign_out_in_another_spelling_has_the_person(door: DoorProcesses) -> None:
    path = "/door//x/..%2fsign%2dout"
    assert raw(door, door.signed_in("tess"), path, {"Origin": door.url}, "POST")[0] == 302
    assert found(door, "signed out", user="tess")["target"] == path


def test_log_has_no_secret(door: DoorProcesses) -> None:
    session = door.signed_in("sam")
    cookie = session.cookies["__Host-door"]
    found(door, "signed in", user="sam")
    shown = str(door.entries(limit="10000")) + door.log("nginx") + door.log("audit")
    words = [TOKEN, TOKEN[4:], cookie, *PASSWORDS.values(), "BODY-SECRET", "QUERY-SECRET", "WORD-SECRET", "NAME-SECRET"]
    assert [word for word in words if word in shown] == []


def test_messages_of_nginx_have_no_query(door: DoorProcesses) -> None:
    session, query = door.session(), 'key=QUERY-SECRET&quoted="QUERY-SECRET'
    large = {"data": b"x" * (2 << 20), "headers": {"Referer": f"{door.url}/?{query}"}}
    assert session.post(f"{door.url}/models/rose/score?{query}", **large).status_code == 413
    until(lambda: "too large body" in door.log("nginx"), seconds=60, what="the message")
    assert "QUERY-SECRET" not in door.log("nginx")


def test_log_answers_the_door_alone(door: DoorProcesses) -> None:
    for headers in ({}, {"X-Door-Key": "guess"}):
        assert requests.get(f"{door.audit}/entries", headers=headers, timeout=30).status_code == 403
        added = requests.post(f"{door.audit}/entries", json={"entries": []}, headers=headers, timeout=30)
        assert added.status_code == 403


@pytest.mark.parametrize(("user", "status"), [("anna", 200), ("ed", 403), ("rob", 403)])
def test_page_is_for_administrators(door: DoorProcesses, user: str, status: int) -> None:
    session = door.signed_in(user)
    assert session.get(f"{door.url}/audit").status_code == status
    assert ('href="/audit"' in session.get(f"{door.url}/").text) == (status == 200)


def test_page_searches_entries(browser: Browser, door: DoorProcesses) -> None:
    door.signed_in("tess")
    found(door, "signed in", user="tess")
    with opened(browser, viewport={"width": 400, "height": 700}) as page:
        sign_in(page, door, "anna")
        page.get_by_role("link", name="Audit log").click()
        page.get_by_label("User").fill("tess")
        page.get_by_role("button", name="Search").click()
        rows = page.get_by_role("region", name="Entries").get_by_role("row")
        expect(rows.nth(1)).to_contain_text("signed in")
        assert all("tess" in text for text in rows.all_inner_texts()[1:])
        require_readable(page, 400)
        page.get_by_label("Since").fill("yesterday")
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("alert")).to_contain_text("'yesterday' is no time")
