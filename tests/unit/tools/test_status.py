"""Tests of `make status` with a stand-in for the API server and Prometheus."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.stand_ins import Answering, answering, kubeconfig
from tools.cli.status import cluster_status

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
    pod("finished-step", "Succeeded", "False"),
    pod("failed-step", "Failed", "False"),
]


class Cluster(Answering):
    """Stand-in for an API server with nodes and pods, and for a Prometheus that requires the password."""

    samples = ANSWERS

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        match address.path:
            case "/api/v1/nodes":
                self.answer(200, {"items": NODES})
            case "/api/v1/pods":
                self.answer(200, {"items": PODS})
            case "/api/v1/query" if self._is_authorized():
                samples = self.samples[parse_qs(address.query)["query"][0]]
                result = [{"metric": metric, "value": [0, value]} for metric, value in samples]
                self.answer(200, {"status": "success", "data": {"resultType": "vector", "result": result}})
            case "/api/v1/query":
                self.answer(401, {})
            case _:
                self.answer(404, {})

    def _is_authorized(self) -> bool:
        login = f"{LOGIN['username']}:{LOGIN['password']}".encode()
        return self.headers.get("Authorization") == f"Basic {b64encode(login).decode()}"


@pytest.fixture
def url() -> Iterator[str]:
    Cluster.samples = ANSWERS
    with answering(Cluster) as address:
        yield address


def outputs(url: str, **more: Any) -> dict[str, Any]:
    return {"kubeconfig": kubeconfig(url), **more}


def monitored(url: str, **login: str) -> dict[str, Any]:
    return outputs(url, monitoring_url=f"{url}/consoles/index.html", monitoring_login=LOGIN | login)


def test_status_names_nodes_and_pods_that_are_not_ready_with_reasons(url: str) -> None:
    text = "\n".join(cluster_status(outputs(url)))
    assert "nodes: 2 of 3 ready; not ready: n3" in text
    assert "pods: 1 of 3 ready" in text
    assert "kubeflow/seaweedfs: CrashLoopBackOff" in text
    assert "kubeflow/ml-pipeline: Pending" in text
    assert "-step" not in text
    assert "platform:monitoring is not set" in text


def test_status_has_the_models_and_alerts_of_prometheus(url: str) -> None:
    text = "\n".join(cluster_status(monitored(url)))
    assert "model iris version 3: 2 pods, 12.50 requests/s, 2.00% errors, p99 8 ms\n" in text
    assert "    drift: PSI 0.31 (petal_width), above 0.2\n" in text
    assert "DiskFull (critical): node n1" in text


def test_status_of_a_model_without_requests_has_no_errors_and_unknown_drift(url: str) -> None:
    Cluster.samples = {query: [] for query in ANSWERS} | dict(list(ANSWERS.items())[:1])
    text = "\n".join(cluster_status(monitored(url)))
    assert "model iris version 3: 2 pods, 0.00 requests/s\n    drift: unknown, too few rows in the last hour\n" in text
    assert "alerts: none" in text


@pytest.mark.parametrize(("days", "expected"), [(300, "expires in 300 days"), (20, "expires in 20 days; renew them")])
def test_status_has_the_days_until_the_certificates_expire(url: str, days: int, expected: str) -> None:
    end = datetime.now(UTC) + timedelta(days=days, hours=1)
    assert expected in "\n".join(cluster_status(outputs(url, certificates_expire=end.strftime("%Y-%m-%dT%H:%M:%SZ"))))


def test_status_with_a_wrong_password_of_prometheus_has_the_error_and_the_nodes(url: str) -> None:
    text = "\n".join(cluster_status(monitored(url, password="wrong")))
    assert "nodes: 2 of 3 ready" in text
    assert "Prometheus does not respond: 401" in text
    assert "wrong" not in text


def test_status_without_the_service_of_prometheus_has_the_error_and_the_nodes(url: str) -> None:
    inside = "http://prometheus.mlplatform-monitoring.svc:9090/consoles/index.html"
    text = "\n".join(cluster_status(outputs(url, monitoring_url=inside, monitoring_login=LOGIN)))
    assert "nodes: 2 of 3 ready" in text
    assert "Prometheus does not respond: Not Found" in text


def test_status_of_a_cluster_that_does_not_respond_has_the_error() -> None:
    text = "\n".join(cluster_status(outputs("http://127.0.0.1:1")))
    assert "the cluster does not respond" in text
