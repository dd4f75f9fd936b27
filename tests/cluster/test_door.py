"""The door of a cluster: sign-on, tokens, spoofed identities from inside the cluster, and changes under load."""

from __future__ import annotations

import copy
import ipaddress
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from mlplatform.door.door import NAMESPACE, OPERATOR, PODS
from mlplatform.mlflow import NAMESPACE as TRACKING

from infra.kubernetes_client.client import KubernetesClient
from settings.machines.lab_settings import BRIDGE
from tests.door.acme_directory import acme_directory
from tests.harness import Stack
from tests.lab.cluster import Cluster, cluster_at, pod
from tests.waiting import until
from tools.cli import door_commands
from tools.cli.audit import audit_command
from tools.cli.champions import canary_commands
from tools.cli.pulumi_command import Pulumi
from workloads.serving import kubernetes

from .conftest import pods, ready

FLOWER = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
SERVICES = ("platform:tracking", "platform:monitoring")
THIS_STACK = cast(Pulumi, SimpleNamespace(name="lab-of-tests", stack="lab-of-tests"))
RENEWAL_SECONDS = 120
"""Seconds until a kubelet has updated the files of a Secret, and nginx has read them."""


class OpenDoor:
    """The door of a stack, as a person or a program outside the cluster uses it."""

    def __init__(self, outputs: dict[str, Any], folder: Path) -> None:
        self.url = str(outputs["door_url"]).rstrip("/")
        self.outputs = outputs
        self.kubeconfig = str(outputs["kubeconfig"])
        self._password = outputs["door_login"]["password"]
        self.ca = folder / "door-ca.crt"
        self.ca.write_text(outputs["door_authority"])

    def session(self) -> requests.Session:
        session = requests.Session()
        session.verify, session.trust_env = str(self.ca), False
        return session

    def signed_in(self) -> requests.Session:
        session = self.session()
        login = {"username": OPERATOR, "password": self._password, "rd": "/door/signed-out"}
        answer = session.post(f"{self.url}/oauth2/sign_in", data=login, headers={"Origin": self.url}, timeout=30)
        assert answer.status_code == 200, answer.text
        return session

    def with_token(self, token: str) -> requests.Session:
        session = self.session()
        session.headers["Authorization"] = f"Bearer {token}"
        return session


@pytest.fixture(scope="module")
def door(whole: Stack | None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenDoor]:
    """Put a door in front of the lab, and remove it afterwards: other tests use the addresses of the services."""
    if whole is None:
        pytest.skip("the door needs settings that the environment's cluster does not have")
    before = dict(whole.settings)
    addresses = whole.settings["platform:load_balancer"]["addresses"]
    whole.settings |= {name: {"service": "ClusterIP"} for name in SERVICES}
    whole.settings |= {
        "serving:service": "ClusterIP",
        "platform:door": {"host": str(ipaddress.IPv4Address(addresses.partition("-")[2])), "requests_per_second": 1000},
    }
    whole.up()
    yield OpenDoor(whole.outputs("--show-secrets"), tmp_path_factory.mktemp("door"))
    whole.settings = before
    whole.up()


@pytest.fixture(scope="module")
def inside(door: OpenDoor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str]]:
    """Yield a cluster and the namespace of a pod `caller` with curl, outside all namespaces of the platform."""
    cluster = cluster_at(door.kubeconfig, tmp_path_factory.mktemp("kubeconfig"))
    namespace = cluster.namespace("door-caller")
    cluster.apply(pod("caller", namespace))
    cluster.wait("pod/caller", "-n", namespace, "--for=condition=Ready")
    yield cluster, namespace
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def curl(inside: tuple[Cluster, str], url: str, *options: str) -> str:
    """Return the status of a request from the pod `caller`; 000 without a connection."""
    cluster, namespace = inside
    command = ["curl", "-sk", "-m", "8", "-o", "/dev/null", "-w", "%{http_code}", *options, url]
    return cluster.execute("caller", namespace, *command, check=False)[:3]


def make_token(door: OpenDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], target: str) -> str:
    monkeypatch.setattr(door_commands, "_door_outputs", lambda _: door.outputs)
    options = ["--for", target, "--team", "shop", "--expires", "1h"]
    assert door_commands.token(THIS_STACK, options) == 0
    return capsys.readouterr().out.strip()


def test_door_start_page_lists_the_served_model(door: OpenDoor) -> None:
    page = door.signed_in().get(f"{door.url}/", timeout=30)
    assert page.status_code == 200
    assert f"{OPERATOR}, administrator" in page.text
    assert '<a href="/models/iris/">iris</a>' in page.text
    assert "accuracy 0." in page.text or "accuracy 1." in page.text
    assert "does not respond" not in page.text


def test_door_leads_to_mlflow_monitoring_and_the_model(door: OpenDoor) -> None:
    session = door.signed_in()
    assert "mlflow" in session.get(f"{door.url}/mlflow/", timeout=30).text.lower()
    assert session.get(f"{door.url}/monitoring/", timeout=30).status_code == 200
    query = session.get(f"{door.url}/monitoring/api/v1/query?query=up", timeout=30).json()
    assert query["status"] == "success"
    assert "iris" in session.get(f"{door.url}/models/iris/", timeout=30).text
    for path in ("/", "/mlflow/", "/monitoring/api/v1/query", "/models/iris/"):
        assert door.session().get(door.url + path, timeout=30).status_code == 401, path


def test_end_of_the_served_certificate_is_measured(door: OpenDoor) -> None:
    query = f"{door.url}/monitoring/api/v1/query?query=door_certificate_lifetime_seconds"
    session = door.signed_in()
    (measured,) = until(lambda: session.get(query, timeout=30).json()["data"]["result"], seconds=120)
    assert float(measured["value"][1]) > 0


def test_door_session_of_another_site_changes_nothing(door: OpenDoor) -> None:
    create = f"{door.url}/mlflow/api/2.0/mlflow/experiments/create"
    headers = {"Origin": "https://evil.example"}
    assert door.signed_in().post(create, json={"name": "forged"}, headers=headers, timeout=30).status_code == 403


def test_door_token_predicts_until_it_is_revoked(
    door: OpenDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = make_token(door, monkeypatch, capsys, "iris")
    program = door.with_token(text)

    def status() -> int:
        return program.post(f"{door.url}/models/iris/score", json=FLOWER, timeout=30).status_code

    until(lambda: status() == 200, seconds=RENEWAL_SECONDS, what="the token")
    assert program.post(f"{door.url}/models/iris/score", json=FLOWER, timeout=30).json()
    assert program.get(f"{door.url}/mlflow/", timeout=30).status_code == 403
    assert door_commands.tokens(THIS_STACK, []) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if " shop " in line]
    assert text not in line
    assert door_commands.revoke(THIS_STACK, ["--id", line.split()[0]]) == 0
    until(lambda: status() == 401, seconds=RENEWAL_SECONDS, what="the end of the token")


def test_identity_from_inside_the_cluster_is_not_believed(
    door: OpenDoor, inside: tuple[Cluster, str], api: KubernetesClient
) -> None:
    spoofed = ["-H", "X-Door-User: anna", "-H", "X-Door-Role: administrator", "-H", "X-Forwarded-User: anna"]
    mlflow = f"http://mlflow.{TRACKING}.svc:5050/api/2.0/mlflow/experiments/search?max_results=1"
    assert curl(inside, mlflow, *spoofed) == "401"
    assert curl(inside, mlflow, *spoofed, "-H", "X-Door-Key: guess") == "403"
    inner = f"https://door.{NAMESPACE}.svc/mlflow/"
    assert curl(inside, inner, *spoofed, "-H", "Accept: application/json") == "401"
    # The start page, the audit log and the models accept connections of the door alone.
    assert curl(inside, f"http://start-page.{NAMESPACE}.svc:8000/", *spoofed) == "000"
    assert curl(inside, f"http://audit.{NAMESPACE}.svc:8001/entries") == "000"
    service = api.core.list_namespaced_service(kubernetes.NAMESPACE).items[0]
    model = f"http://{service.metadata.name}.{kubernetes.NAMESPACE}.svc:{service.spec.ports[0].port}/v2/health/ready"
    assert curl(inside, model) == "000"
    (address,) = [each.status.pod_ip for each in pods(api, NAMESPACE, PODS)][:1]
    assert curl(inside, f"http://{address}:4180/oauth2/auth", *spoofed) == "000"


def test_door_loses_no_request_while_a_pod_and_its_files_change(
    door: OpenDoor, api: KubernetesClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = door.with_token(make_token(door, monkeypatch, capsys, "iris"))
    until(
        lambda: program.post(f"{door.url}/models/iris/score", json=FLOWER, timeout=30).status_code == 200,
        seconds=RENEWAL_SECONDS,
        what="the token",
    )
    with load(program, f"{door.url}/models/iris/score") as failures:
        (old, *_) = pods(api, NAMESPACE, PODS)
        api.core.delete_namespaced_pod(old.metadata.name, NAMESPACE)
        make_token(door, monkeypatch, capsys, "iris")
        until(lambda: [ready(each) for each in pods(api, NAMESPACE, PODS)] == [True, True], seconds=180)
    assert failures == []


def test_audit_log_has_sign_ons_with_the_address_of_the_caller_tokens_and_champions(
    whole: Stack, door: OpenDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = make_token(door, monkeypatch, capsys, "iris")
    program = door.with_token(text)
    url = f"{door.url}/models/iris/score"
    until(lambda: program.post(url, json=FLOWER, timeout=30).status_code == 200, seconds=RENEWAL_SECONDS)
    door.with_token(text).post(url, json=FLOWER, timeout=30)
    door.signed_in()
    monkeypatch.setattr(audit_command, "secret_outputs", lambda _: door.outputs)

    def lines() -> str:
        assert audit_command.audit(THIS_STACK, ["--limit", "1000"]) == 0
        return capsys.readouterr().out

    here = ipaddress.ip_network(whole.settings["infra:lab"]["subnet"])[BRIDGE]
    signed_in = f"  {OPERATOR}  signed in  /oauth2/sign_in  {here}  "
    wanted = (signed_in, "  used a token  /models/iris/  ", "  made a token  token.", "  denied  ")
    until(lambda: all(each in lines() for each in wanted), seconds=60, what="the entries")
    shown = lines()
    assert "  set the champion  iris/1" in shown
    assert text not in shown
    page = door.signed_in().get(f"{door.url}/audit?contains=token", timeout=30).text
    assert "made a token" in page
    assert text not in page


def test_canary_gets_its_weight_and_is_promoted_by_its_measurements(
    whole: Stack, door: OpenDoor, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    champion = int(whole.outputs()["model"]["version"])
    whole.settings["workloads:pipelines"] = copy.deepcopy(whole.settings["workloads:pipelines"])
    external = whole.settings["workloads:pipelines"]["iris-external"]
    external["version"], external["parameters"]["trees"] = champion, 7
    conditions = {"requests": 20, "slower": 50, "more_errors": 0.05, "agreement": 0.5}
    trial = {"version": champion + 1, "weight": 30, "promote": {"after": "1m", "if": conditions}}
    whole.settings["serving:canary"] = trial
    whole.up()
    program = door.with_token(make_token(door, monkeypatch, capsys, "iris"))
    url = f"{door.url}/models/iris/score"
    until(lambda: program.post(url, json=FLOWER, timeout=30).status_code == 200, seconds=RENEWAL_SECONDS)
    versions: Counter[int] = Counter()
    end = time.monotonic() + 100
    while time.monotonic() < end:
        versions[int(program.post(url, json=FLOWER, timeout=30).json()["model_version"])] += 1
    assert set(versions) == {champion, champion + 1}
    assert 0.2 < versions[champion + 1] / versions.total() < 0.4
    monkeypatch.setattr(canary_commands, "secret_outputs", lambda _: whole.outputs("--show-secrets"))
    assert canary_commands.canary(THIS_STACK, []) == 0
    table = capsys.readouterr().out
    print(table, versions)
    assert "With the next `make up`: the canary becomes the champion" in table
    whole.up()
    outputs = whole.outputs()
    assert outputs["canary"]["trial"] == "promoted"
    assert int(outputs["model"]["version"]) == champion + 1
    answers = [program.post(url, json=FLOWER, timeout=30).json() for _ in range(50)]
    assert {int(answer["model_version"]) for answer in answers} == {champion + 1}
    page = door.signed_in().get(f"{door.url}/", timeout=30).text
    assert "Its trial: promoted." in page


def test_acme_directory_issues_the_certificate_until_its_setting_is_removed(
    whole: Stack, door: OpenDoor, tmp_path: Path
) -> None:
    own = whole.settings["platform:door"]
    issuer = tmp_path / "issuer.crt"
    assert serves_certificate_of(door.ca, door.url)
    with acme_directory(tmp_path, door_port=80) as directory:
        issuer.write_bytes(directory.issuer.certificate)
        acme = {"directory": directory.url, "ca_file": directory.ca_file}
        whole.settings["platform:door"] = own | {"acme": acme}
        whole.up()
        assert [order["status"] for order in directory.orders] == ["valid"]
        whole.up()
        assert len(directory.orders) == 1
    until(lambda: serves_certificate_of(issuer, door.url), seconds=RENEWAL_SECONDS, what="the issued certificate")
    whole.settings["platform:door"] = own
    whole.up()
    until(lambda: serves_certificate_of(door.ca, door.url), seconds=RENEWAL_SECONDS, what="the stack's certificate")


def serves_certificate_of(authority: Path, url: str) -> bool:
    """Return True if a client that trusts this authority alone gets an answer."""
    try:
        requests.get(url, verify=str(authority), timeout=30)
    except requests.exceptions.SSLError:
        return False
    return True


@contextmanager
def load(program: requests.Session, url: str) -> Iterator[list[str]]:
    """Send predictions, each repeated once after a failure; yield the failures of both attempts."""
    failures: list[str] = []
    stop = threading.Event()

    def attempt() -> str:
        try:
            answer = program.post(url, json=FLOWER, timeout=15)
        except requests.RequestException as error:
            return repr(error)
        return "" if answer.status_code == 200 else f"{answer.status_code} {json.dumps(answer.text)}"

    def send() -> None:
        while not stop.is_set():
            if attempt() and (failure := attempt()):
                failures.append(failure)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield failures
    finally:
        stop.set()
        sender.join()
