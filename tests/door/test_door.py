"""The door with users of the settings: HTTPS, sessions, roles, tokens, and requests that try to get around it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from tests.waiting import until

from .conftest import MLFLOW_PASSWORD
from .processes import COOKIE_SECRET, HOST, KEY, CanaryEcho, DoorProcesses, expires

COOKIE = "__Host-door"
EXPERIMENTS = "/mlflow/api/2.0/mlflow/experiments/search?max_results=1"
CREATE = "/mlflow/api/2.0/mlflow/experiments/create"


@pytest.fixture(scope="module")
def editor(door: DoorProcesses) -> requests.Session:
    return door.signed_in("ed")


@pytest.fixture(scope="module")
def reader(door: DoorProcesses) -> requests.Session:
    return door.signed_in("rob")


def test_plain_http_is_redirected_to_https(door: DoorProcesses) -> None:
    answer = requests.get(f"http://{HOST}:{door.plain_port}/mlflow/?a=b", allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.headers["Location"]) == (308, f"{door.url}/mlflow/?a=b")


def test_token_over_plain_http_is_refused_instead_of_redirected(door: DoorProcesses) -> None:
    headers = {"Authorization": f"Bearer {TOKENS['iris']}"}
    url = f"http://{HOST}:{door.plain_port}/models/iris/score"
    answer = requests.post(url, json={}, headers=headers, allow_redirects=False, timeout=30)
    assert (answer.status_code, "revoke it" in answer.json()["error"]) == (403, True)


def test_tls_older_than_1_2_is_refused(door: DoorProcesses) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(door.ca)
    with socket.create_connection((HOST, door.port)) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        assert tls.version() == "TLSv1.3"
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        pytest.raises((ssl.SSLError, ConnectionError)),
        socket.create_connection((HOST, door.port)) as plain,
        context.wrap_socket(plain, server_hostname=HOST),
    ):
        pass


@pytest.mark.parametrize("path", ["/", "/mlflow/", EXPERIMENTS, "/monitoring/x", "/models/iris/", "/models/none/"])
def test_nothing_is_shown_without_sign_on(door: DoorProcesses, path: str) -> None:
    page = door.session().get(door.url + path, allow_redirects=False)
    assert page.status_code == 302
    assert page.headers["Location"].startswith("/oauth2/sign_in?rd=%2F")
    program = door.session().get(door.url + path, headers={"Accept": "application/json"})
    assert (program.status_code, program.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_wrong_password_gets_no_session(door: DoorProcesses) -> None:
    session = door.session()
    login = {"username": "ed", "password": "wrong", "rd": "/"}
    answer = session.post(f"{door.url}/oauth2/sign_in", data=login, headers={"Origin": door.url})
    assert answer.status_code == 401
    assert "wrong" in answer.text
    assert not session.cookies


def test_session_cookie_is_secure_http_only_and_same_site(door: DoorProcesses) -> None:
    answer = door.session().post(
        f"{door.url}/oauth2/sign_in",
        data={"username": "ed", "password": "battery staple", "rd": "/"},
        headers={"Origin": door.url},
        allow_redirects=False,
    )
    name, *attributes = answer.headers["Set-Cookie"].split("; ")
    assert name.startswith(f"{COOKIE}=")
    assert {"Path=/", "HttpOnly", "Secure", "SameSite=Lax"} <= set(attributes)
    assert not any(each.startswith("Domain") for each in attributes)


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/\\evil.example", "https:evil.example", "/%0d%0aX: y"]
)
def test_sign_on_never_redirects_to_another_site(door: DoorProcesses, target: str) -> None:
    login = {"username": "ed", "password": "battery staple", "rd": target}
    answer = door.session().post(
        f"{door.url}/oauth2/sign_in", data=login, headers={"Origin": door.url}, allow_redirects=False
    )
    assert answer.status_code == 302
    assert answer.headers["Location"] in ("/", "/%0d%0aX:%20y", "/%0d%0aX: y")


def test_sign_out_ends_the_session_of_the_browser(door: DoorProcesses) -> None:
    leaving = door.signed_in("ed")
    assert leaving.get(f"{door.url}/").status_code == 200
    assert leaving.get(f"{door.url}/door/sign-out").status_code == 405
    answer = leaving.post(f"{door.url}/door/sign-out", headers={"Origin": door.url})
    assert answer.url == f"{door.url}/door/signed-out"
    assert COOKIE not in leaving.cookies
    assert "Sign in" in leaving.get(f"{door.url}/").text


def test_changed_session_cookie_is_refused(door: DoorProcesses, editor: requests.Session) -> None:
    value = editor.cookies.get(COOKIE)
    assert value
    changed = value[:-8] + ("A" if value[-8] != "A" else "B") + value[-7:]
    headers = {"Cookie": f"{COOKIE}={changed}", "Accept": "application/json"}
    assert requests.get(f"{door.url}/", headers=headers, verify=str(door.ca), timeout=30).status_code == 401


@pytest.mark.parametrize(
    ("age_hours", "key", "status"), [(0, COOKIE_SECRET, 200), (9, COOKIE_SECRET, 401), (0, "B" * 43, 401)]
)
def test_session_ends_after_its_hours_and_needs_the_key(
    door: DoorProcesses, editor: requests.Session, age_hours: float, key: str, status: int
) -> None:
    """Sign the cookie of a session again, with an age and a key."""
    content = str(editor.cookies.get(COOKIE)).split("|")[0]
    created = str(int(time.time() - age_hours * 3600))
    digest = hmac.new(key.encode(), f"{COOKIE}{content}{created}".encode(), hashlib.sha256).digest()
    cookie = f"{COOKIE}={content}|{created}|{base64.urlsafe_b64encode(digest).decode()}"
    headers = {"Cookie": cookie, "Accept": "application/json"}
    assert requests.get(f"{door.url}/", headers=headers, verify=str(door.ca), timeout=30).status_code == status


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["origin", "opaque origin", "fetch metadata"],
)
def test_change_from_another_site_is_refused(
    door: DoorProcesses, editor: requests.Session, headers: dict[str, str]
) -> None:
    answer = editor.post(door.url + CREATE, json={"name": "forged"}, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.text


def test_mlflow_gets_the_person_and_the_role(
    door: DoorProcesses, editor: requests.Session, reader: requests.Session
) -> None:
    created = editor.post(door.url + CREATE, json={"name": "of-ed"}, headers={"Origin": door.url})
    assert created.status_code == 200, created.text
    current = "/mlflow/api/2.0/mlflow/users/get?username=ed"
    assert editor.get(door.url + current).json()["user"]["username"] == "ed"
    assert reader.get(door.url + EXPERIMENTS).status_code == 200
    assert reader.post(door.url + CREATE, json={"name": "of-rob"}, headers={"Origin": door.url}).status_code == 403
    users = "/mlflow/api/2.0/mlflow/users/create"
    new = {"username": "mallory", "password": "password1234"}
    assert editor.post(door.url + users, json=new, headers={"Origin": door.url}).status_code == 403


SPOOFED = {
    "X-Forwarded-User": "anna",
    "X-Forwarded-Email": "anna",
    "X-Forwarded-Groups": "administrator",
    "X-Auth-Request-User": "anna",
    "X-Door-User": "anna",
    "X-Door-Role": "administrator",
    "X-Door-Teams": "*,shop",
    "X-Door-Key": KEY,
    "Remote-User": "anna",
    "Kubeflow-Userid": "anna",
}


def test_identity_headers_of_the_caller_are_removed(
    door: DoorProcesses, editor: requests.Session, reader: requests.Session
) -> None:
    answer = editor.get(f"{door.url}/models/iris/v2", headers=SPOOFED | {"X-Forwarded-For": "192.0.2.1"})
    received = answer.json()
    assert received["path"] == "/v2"
    headers = {name.lower(): value for name, value in received["headers"].items()}
    assert not {name.lower() for name in SPOOFED} & headers.keys()
    assert not {"cookie", "authorization"} & headers.keys()
    assert headers["x-forwarded-for"] == HOST
    assert "Set-Cookie" not in answer.headers
    created = reader.post(door.url + CREATE, json={"name": "spoofed"}, headers={**SPOOFED, "Origin": door.url})
    assert created.status_code == 403
    assert door.session().get(door.url + "/mlflow/", headers=SPOOFED, allow_redirects=False).status_code == 302


def test_services_refuse_requests_that_bypass_the_door(door: DoorProcesses, mlflow_url: str) -> None:
    url = mlflow_url + EXPERIMENTS.removeprefix("/mlflow")
    identity = {"X-Door-User": "anna", "X-Door-Role": "administrator"}
    assert requests.get(url, headers=identity, timeout=30).status_code == 401
    assert requests.get(url, headers={**identity, "X-Door-Key": "guess"}, timeout=30).status_code == 403
    assert requests.get(url, headers={**identity, "X-Door-Key": ""}, timeout=30).status_code == 403
    program = {"X-Door-User": "writer", "X-Door-Role": "administrator", "X-Door-Key": KEY}
    assert requests.get(url, headers=program, timeout=30).status_code == 403
    start = next(line for line in (door.folder / "services").read_text().splitlines() if line.startswith("start_page"))
    page = f"http://{HOST}:{start.split()[-1]}/"
    assert requests.get(page, headers={**identity, "X-Door-Key": "guess"}, timeout=30).status_code == 403


def test_person_with_a_password_in_mlflow_signs_on_at_the_door_alone(
    door: DoorProcesses, editor: requests.Session, mlflow_url: str
) -> None:
    assert editor.get(door.url + EXPERIMENTS, timeout=30).status_code == 200
    anna, users, password = door.signed_in("anna"), f"{door.url}/mlflow/api/2.0/mlflow/users", "chosen in MLflow"
    options: dict[str, Any] = {"headers": {"Origin": door.url}, "timeout": 30}
    for user in ("mallory", "writer.mallory"):
        created = anna.post(f"{users}/create", json={"username": user, "password": password}, **options)
        assert created.status_code == 200, created.text
    changed = anna.patch(f"{users}/update-password", json={"username": "ed", "password": password}, **options)
    assert changed.status_code == 200, changed.text
    url = mlflow_url + EXPERIMENTS.removeprefix("/mlflow")
    logins = {**dict.fromkeys(("mallory", "writer.mallory", "ed"), password), "writer": MLFLOW_PASSWORD}
    found = {user: requests.get(url, auth=(user, word), timeout=30).status_code for user, word in logins.items()}
    assert found == {"mallory": 403, "writer.mallory": 403, "ed": 403, "writer": 200}


def test_monitoring_gets_the_login_of_the_door(door: DoorProcesses, editor: requests.Session) -> None:
    assert editor.get(f"{door.url}/monitoring/api").json()["headers"]["Authorization"] == "Basic cHJvbTp3b3Jk"
    start = editor.get(f"{door.url}/monitoring/", allow_redirects=False)
    assert start.headers["Location"] == "/monitoring/status"


def test_kubeflow_gets_packages_of_its_largest_size_from_editors(
    door: DoorProcesses, editor: requests.Session, reader: requests.Session
) -> None:
    upload = {"data": b"x" * (31 << 20), "headers": {"Origin": door.url}}
    url = f"{door.url}/pipeline/apis/v2beta1/pipelines/upload"
    received = editor.post(url, **upload)
    assert received.status_code == 200, received.text
    assert received.json()["headers"]["Authorization"] == "Basic a2ZwOndvcmQ="
    assert reader.get(url).status_code == 403


def test_private_model_is_for_administrators(door: DoorProcesses, editor: requests.Session) -> None:
    assert editor.get(f"{door.url}/models/secret/").status_code == 403
    assert door.signed_in("anna").get(f"{door.url}/models/secret/").status_code == 200
    assert door.session().post(f"{door.url}/models/rose/score", json={}).status_code == 200


def predictions(door: DoorProcesses, model: str, count: int) -> list[str]:
    """Send requests with the token for a model, which has a rate, and return the servers that answered them."""
    with door.session() as session:
        session.headers["Authorization"] = f"Bearer {TOKENS[model]}"
        url = f"{door.url}/models/{model}/score?x=%20"
        answers = [session.post(url, json={"a": 1}, timeout=30) for _ in range(count)]
    accepted = [answer for answer in answers if answer.status_code != 429]
    assert {(answer.status_code, answer.json()["path"]) for answer in accepted} == {(200, "/score?x=%20")}
    return [answer.json()["server"] for answer in accepted]


@pytest.mark.usefixtures("granted")
def test_canary_gets_its_share_of_the_requests(door: DoorProcesses) -> None:
    servers: list[str] = []

    def both() -> bool:
        servers.extend(predictions(door, "tulip", 30))
        return set(servers) == {"stable", "canary"}

    until(both, what="an answer of the canary")
    assert servers.count("canary") < len(servers) / 2


@pytest.mark.usefixtures("granted")
def test_request_that_the_canary_does_not_answer_is_answered_by_the_champion(door: DoorProcesses) -> None:
    assert set(predictions(door, "rush", 15)) == {"stable"}


@pytest.mark.usefixtures("granted")
def test_request_to_a_canary_that_cannot_be_reached_is_soon_answered_by_the_champion(door: DoorProcesses) -> None:
    with ThreadPoolExecutor(8) as clients:
        servers = [
            server for found in clients.map(lambda _: predictions(door, "sedge", 1), range(8)) for server in found
        ]
    assert set(servers) == {"stable"}


@pytest.mark.usefixtures("granted")
def test_canary_with_mirror_gets_a_copy_and_its_answer_is_discarded(door: DoorProcesses) -> None:
    assert predictions(door, "lily", 1) == ["stable"]
    until(lambda: ("/score?x=%20", '{"a": 1}') in CanaryEcho.seen, what="the copy")


@pytest.mark.usefixtures("granted")
def test_long_request_reaches_the_model_and_the_canary_with_mirror(door: DoorProcesses) -> None:
    headers, body = {"Authorization": f"Bearer {TOKENS['lily']}"}, "x" * (2 << 20)
    url = f"{door.url}/models/lily/long"

    def copied() -> bool:
        answer = requests.post(url, body, headers=headers, verify=str(door.ca), timeout=30)
        assert answer.status_code == 200, answer.text
        return ("/long", body) in CanaryEcho.seen

    until(copied, what="the copy")


@pytest.mark.parametrize("path", ["/models/rose/..%2Fsecret/", "/models/rose/%2e%2e/secret/", "/models//secret/"])
def test_path_tricks_reach_no_other_model(door: DoorProcesses, path: str) -> None:
    connection = requests.Session()
    request = requests.Request("POST", door.url + path).prepare()
    request.url = door.url + path  # as written, without normalization
    assert connection.send(request, verify=str(door.ca)).status_code in (401, 404)


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
    **{name: grant(f"model:{name}") for name in ("tulip", "rush", "sedge", "lily")},
}
TOKENS = {name: f"mlp_{secrets.token_urlsafe(32)}" for name in GRANTS}


def score(door: DoorProcesses, token: str, model: str = "iris") -> requests.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return requests.post(f"{door.url}/models/{model}/score", json={}, headers=headers, verify=str(door.ca), timeout=30)


CONNECTIONS = 16
"""Connections at once: a busy computer answers less than the limit on one."""


def pipelined(door: DoorProcesses, token: str, requests_sent: int, model: str = "iris") -> list[int]:
    """Send requests at once on one connection, and return the statuses of the answers."""
    head = f"POST /models/{model}/score HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
    context = ssl.create_default_context(cafile=str(door.ca))
    with socket.create_connection((HOST, door.port)) as plain, context.wrap_socket(plain, server_hostname=HOST) as tls:
        tls.sendall(f"{head}Content-Length: 0\r\n\r\n".encode() * (requests_sent - 1))
        tls.sendall(f"{head}Content-Length: 0\r\nConnection: close\r\n\r\n".encode())
        received = b"".join(iter(lambda: tls.recv(1 << 16), b""))
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", received)]


@pytest.fixture(scope="module")
def granted(door: DoorProcesses) -> None:
    door.serve_tokens({TOKENS[name]: GRANTS[name] for name in TOKENS})


@pytest.mark.usefixtures("granted")
def test_token_opens_its_model_alone(door: DoorProcesses) -> None:
    assert score(door, TOKENS["iris"]).json()["path"] == "/score"
    assert score(door, TOKENS["iris"], "secret").status_code == 403
    assert score(door, TOKENS["secret"], "secret").status_code == 200
    for path in ("/", "/mlflow/", "/monitoring/x"):
        headers = {"Authorization": f"Bearer {TOKENS['iris']}"}
        assert requests.get(door.url + path, headers=headers, verify=str(door.ca), timeout=30).status_code == 403


@pytest.mark.parametrize("text", ["", "mlp_", f"mlp_{'A' * 43}", "Basic eDp5", "mlp_" + "é" * 43])
@pytest.mark.usefixtures("granted")
def test_unknown_token_is_refused(door: DoorProcesses, text: str) -> None:
    headers = {"Authorization": f"Bearer {text}".encode()}
    answer = requests.post(f"{door.url}/models/iris/score", headers=headers, verify=str(door.ca), timeout=30)
    assert answer.status_code == 401
    assert score(door, TOKENS["old"]).status_code == 401


@pytest.mark.usefixtures("granted")
def test_token_never_reaches_a_service_or_a_log(door: DoorProcesses) -> None:
    answer = score(door, TOKENS["iris"])
    assert "authorization" not in {name.lower() for name in answer.json()["headers"]}
    assert score(door, TOKENS["iris"], "secret").status_code == 403
    assert not any(token in door.log(name) for token in TOKENS.values() for name in ("nginx", "sign-on", "start-page"))
    assert TOKENS["iris"] not in (door.folder / "tokens.json").read_text()


@pytest.mark.usefixtures("granted")
def test_mlflow_client_reads_with_a_token(door: DoorProcesses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(door.ca))
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKENS["editor"])
    client = MlflowClient(f"{door.url}/mlflow")
    run = client.create_run(client.create_experiment(f"by-{secrets.token_hex(4)}"))
    client.log_text(run.info.run_id, "text" * (1 << 20), "note.txt")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", TOKENS["mlflow"])
    assert client.get_run(run.info.run_id).info.run_id == run.info.run_id
    with pytest.raises(Exception, match=r"403|[Pp]ermission"):
        client.create_experiment(f"no-{secrets.token_hex(4)}")


@pytest.mark.usefixtures("granted")
def test_token_beyond_its_rate_is_answered_429_and_others_go_on(door: DoorProcesses) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        sent = [pool.submit(pipelined, door, TOKENS["fast"], requests_sent=25) for _ in range(CONNECTIONS)]
        statuses = [status for each in sent for status in each.result()]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 21
    assert score(door, TOKENS["iris"]).status_code == 200


@pytest.mark.usefixtures("granted")
def test_caller_of_a_public_model_has_the_rate_of_its_address_whatever_its_header(door: DoorProcesses) -> None:
    made_up = [f"mlp_{secrets.token_urlsafe(32)}" for _ in range(CONNECTIONS)]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        sent = [pool.submit(pipelined, door, text, requests_sent=25, model="rose") for text in ["x", *made_up]]
        statuses = [status for each in sent for status in each.result()]
    assert set(statuses) == {200, 429}
    assert score(door, TOKENS["iris"], "rose").status_code == 200


@pytest.mark.usefixtures("granted")
def test_revoked_token_is_refused_without_a_lost_request(door: DoorProcesses) -> None:
    with door.session() as session:
        door.write_tokens({TOKENS[name]: GRANTS[name] for name in TOKENS if name != "secret"})
        statuses = []

        def revoked() -> bool:
            statuses.append(session.post(f"{door.url}/models/rose/score", json={}).status_code)
            return score(door, TOKENS["secret"], "secret").status_code == 401

        until(revoked, what="the end of the token")
    assert set(statuses) <= {200, 429}
