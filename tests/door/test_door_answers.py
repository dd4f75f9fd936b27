"""Answers of the door to all callers: headers for browsers, methods, ciphers, and the rate of passwords."""

from __future__ import annotations

import http.client
import socket
import ssl
from urllib.parse import urlencode

import pytest
import requests

from .processes import HOST, DoorProcesses
from .test_door import EXPERIMENTS

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "Server": "nginx",
}
PAGES = ["/", "/mlflow/", EXPERIMENTS, "/models/secret/", "/models/none/", "/oauth2/sign_in", "/door/signed-out"]


@pytest.fixture(scope="module")
def editor(door: DoorProcesses) -> requests.Session:
    return door.signed_in("ed")


@pytest.mark.parametrize("path", [*PAGES, "/door/style.css"])
def test_answer_has_security_headers(door: DoorProcesses, editor: requests.Session, path: str) -> None:
    for session in (editor, door.session()):
        answer = session.get(door.url + path, allow_redirects=False)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        policies = answer.headers["Content-Security-Policy"]
        assert {"base-uri 'none'", "object-src 'none'"} & set(policies.split("; "))
        assert "frame-ancestors" in policies
        if answer.status_code != 302 and answer.headers.get("Content-Type", "").startswith("text/html"):
            assert "charset=utf-8" in answer.headers["Content-Type"].lower()


@pytest.mark.parametrize("path", ["/oauth2/sign_in", "/door/signed-out"])
def test_pages_of_the_sign_on_load_nothing_but_their_style(door: DoorProcesses, path: str) -> None:
    policy = door.session().get(door.url + path).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:;")


def test_sign_out_clears_what_the_browser_stored(door: DoorProcesses) -> None:
    leaving = door.signed_in("ed")
    answer = leaving.post(f"{door.url}/door/sign-out", headers={"Origin": door.url})
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_page_of_another_site_clears_nothing(door: DoorProcesses, site: str) -> None:
    page = door.session().get(f"{door.url}/door/signed-out", headers={"Sec-Fetch-Site": site})
    assert "Clear-Site-Data" not in page.headers


@pytest.mark.parametrize("path", ["/", EXPERIMENTS, "/monitoring/api/v1/query", "/models/secret/", "/models/none/"])
def test_answer_with_data_is_not_cached(door: DoorProcesses, editor: requests.Session, path: str) -> None:
    assert "no-store" in editor.get(door.url + path).headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/", EXPERIMENTS, "/models/rose/v2"])
@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:3000", "null"])
def test_page_of_another_site_reads_no_answer(
    door: DoorProcesses, editor: requests.Session, path: str, origin: str
) -> None:
    for method in ("GET", "OPTIONS"):
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        answer = editor.request(method, door.url + path, headers=asked)
        for allowed in ("Origin", "Credentials"):
            assert f"Access-Control-Allow-{allowed}" not in answer.headers


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_method_for_proxies_is_refused(door: DoorProcesses, method: str) -> None:
    context = ssl.create_default_context(cafile=str(door.ca))
    connection = http.client.HTTPSConnection(HOST, door.port, context=context, timeout=30)
    connection.request(method, "/models/rose/v2", headers={"X-Sent": "by the caller"})
    answer = connection.getresponse()
    assert answer.status in (400, 405)
    assert b"by the caller" not in answer.read()
    connection.close()


@pytest.mark.parametrize("cipher", ["AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA384", "ECDHE-ECDSA-AES128-SHA256"])
def test_cipher_without_forward_secrecy_or_authentication_is_refused(door: DoorProcesses, cipher: str) -> None:
    context = ssl.create_default_context(cafile=str(door.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(cipher)
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        socket.create_connection((HOST, door.port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST),
    ):
        pass


def test_passwords_are_tried_at_a_limited_rate_from_an_address(door: DoorProcesses) -> None:
    form = urlencode({"username": "rob", "password": "guess", "rd": "/"})
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Origin": door.url}
    context = ssl.create_default_context(cafile=str(door.ca))
    connection = http.client.HTTPSConnection(
        HOST, door.port, context=context, timeout=30, source_address=("127.0.0.2", 0)
    )
    statuses = []
    while 429 not in statuses and len(statuses) < 200:
        connection.request("POST", "/oauth2/sign_in", form, headers)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    assert set(statuses) == {401, 429}
    assert len(statuses) > 30
    assert door.signed_in("rob").get(f"{door.url}/door/signed-out").status_code == 200
