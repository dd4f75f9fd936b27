"""What `make status` says of a cluster at this moment, by an API server and a Prometheus of our own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.stand_ins import Answering, answering, kubeconfig
from tools.cli.status import now

LOGIN = {"username": "prometheus", "password": "word"}
SERVED = {"service": "iris-server", "model": "iris", "version": "3"}
ANSWERS: dict[str, list[tuple[dict[str, str], str]]] = {
    "count by (service, model, version) (model_server_model_info == 1)": [(SERVED, "2")],
    'service:model_requests:rate5m{service="iris-server"}': [({}, "12.5")],
    'service:model_errors:ratio5m{service="iris-server"} >= 0': [({}, "0.02")],
    'service:model_seconds:p99_5m{service="iris-server"} >= 0': [({}, "0.008")],
    'topk(1, feature:model_input_psi:1h{service="iris-server",version="3"})': [({"feature": "petal_width"}, "0.31")],
    'sort_desc(ALERTS{alertstate="firing"})': [
        (
            {
                "__name__": "ALERTS",
                "alertname": "DiskFull",
                "severity": "critical",
                "alertstate": "firing",
                "node": "n1",
            },
            "1",
        )
    ],
}


def condition(status: str) -> list[dict[str, str]]:
    return [{"type": "Ready", "status": status}]


def pod(name: str, phase: str, ready: str, waiting: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": waiting}} if waiting else {}
    container = {"name": "c", "ready": False, "restartCount": 0, "image": "i", "imageID": "", "state": state}
    status = {"phase": phase, "conditions": condition(ready), "containerStatuses": [container]}
    return {"metadata": {"name": name, "namespace": "kubeflow"}, "status": status}


NODES = [
    {"metadata": {"name": name}, "status": {"conditions": condition(ready)}}
    for name, ready in (("n1", "True"), ("n2", "True"), ("n3", "Unknown"))
]
PODS = [
    pod("mysql", "Running", "True"),
    pod("seaweedfs", "Running", "False", "CrashLoopBackOff"),
    pod("ml-pipeline", "Pending", "False"),
    pod("a-step-that-is-done", "Succeeded", "False"),
    pod("a-step-that-failed", "Failed", "False"),
]


class Cluster(Answering):
    """Nodes and pods as an API server tells them, and samples as Prometheus does to who has the password."""

    samples = ANSWERS

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        match address.path:
            case "/api/v1/nodes":
                self.answer(200, {"items": NODES})
            case "/api/v1/pods":
                self.answer(200, {"items": PODS})
            case "/api/v1/query" if self._knows_the_password():
                found = self.samples[parse_qs(address.query)["query"][0]]
                result = [{"metric": metric, "value": [0, value]} for metric, value in found]
                self.answer(200, {"status": "success", "data": {"resultType": "vector", "result": result}})
            case "/api/v1/query":
                self.answer(401, {})
            case _:
                self.answer(404, {})

    def _knows_the_password(self) -> bool:
        login = f"{LOGIN['username']}:{LOGIN['password']}".encode()
        return self.headers.get("Authorization") == f"Basic {b64encode(login).decode()}"


@pytest.fixture
def url() -> Iterator[str]:
    Cluster.samples = ANSWERS
    with answering(Cluster) as address:
        yield address


def outputs(url: str, **more: Any) -> dict[str, Any]:
    return {"kubeconfig": kubeconfig(url), **more}


def watched(url: str, **login: str) -> dict[str, Any]:
    return outputs(url, monitoring_url=f"{url}/consoles/index.html", monitoring_login=LOGIN | login)


def test_nodes_and_pods_that_are_not_ready_are_named_with_why(url: str) -> None:
    said = "\n".join(now(outputs(url)))
    assert "nodes: 2 of 3 ready; not n3" in said
    assert "pods: 1 of 3 ready" in said
    assert "kubeflow/seaweedfs: CrashLoopBackOff" in said
    assert "kubeflow/ml-pipeline: Pending" in said
    assert "a-step" not in said
    assert "platform:monitoring is not set" in said


def test_models_and_alerts_are_told_as_prometheus_measured_them(url: str) -> None:
    said = "\n".join(now(watched(url)))
    assert (
        "model iris version 3: 2 pods, 12.50 requests/s, 2.00% errors, p99 8 ms, "
        "drift: PSI 0.31 (petal_width), above 0.2"
    ) in said
    assert "DiskFull (critical): node n1" in said


def test_what_nobody_asked_yet_has_neither_errors_nor_drift(url: str) -> None:
    Cluster.samples = {query: [] for query in ANSWERS} | dict(list(ANSWERS.items())[:1])
    said = "\n".join(now(watched(url)))
    assert "model iris version 3: 2 pods, 0.00 requests/s, drift: too few rows in the last hour to tell" in said
    assert "alerts: none" in said


@pytest.mark.parametrize(("days", "said"), [(300, "ends in 300 days"), (20, "ends in 20 days; renew them")])
def test_the_end_of_the_certificates_is_told_in_days(url: str, days: int, said: str) -> None:
    end = datetime.now(UTC) + timedelta(days=days, hours=1)
    assert said in "\n".join(now(outputs(url, certificates_expire=end.strftime("%Y-%m-%dT%H:%M:%SZ"))))


def test_a_prometheus_that_refuses_the_password_is_told_beside_the_rest(url: str) -> None:
    said = "\n".join(now(watched(url, password="wrong")))
    assert "nodes: 2 of 3 ready" in said
    assert "Prometheus does not answer: 401" in said
    assert "wrong" not in said


def test_a_prometheus_whose_service_is_gone_is_told_beside_the_rest(url: str) -> None:
    inside = "http://prometheus.mlplatform-monitoring.svc:9090/consoles/index.html"
    said = "\n".join(now(outputs(url, monitoring_url=inside, monitoring_login=LOGIN)))
    assert "nodes: 2 of 3 ready" in said
    assert "Prometheus does not answer: Not Found" in said


def test_a_cluster_that_does_not_answer_is_told() -> None:
    said = "\n".join(now(outputs("http://127.0.0.1:1")))
    assert "the cluster does not answer" in said
