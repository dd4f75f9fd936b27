"""Connections through a port-forward, with the API server replaced."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from kubernetes import stream  # type: ignore[import-untyped]
from kubernetes.client import ApiException  # type: ignore[import-untyped]

from infra import retry
from infra.kubernetes_client import client
from infra.kubernetes_client.port_forward import PodTarget, port_forward

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
POD = SimpleNamespace(
    metadata=SimpleNamespace(name="pod", deletion_timestamp=None),
    status=SimpleNamespace(conditions=[SimpleNamespace(type="Ready", status="True")]),
)


class Pods:
    """Pods of an API server whose first answers are errors."""

    def __init__(self, failures: list[Exception]) -> None:
        self.failures = failures
        self.core = SimpleNamespace(
            connect_get_namespaced_pod_portforward=None,
            list_namespaced_pod=lambda *_, **__: SimpleNamespace(items=[POD]),
        )

    def retry(self, call: Callable[[], Any]) -> Any:
        return call()

    def forward(self, *_: Any, **__: Any) -> Any:
        if self.failures:
            raise self.failures.pop(0)
        here, there = socket.socketpair()

        def answer() -> None:
            there.recv(1 << 16)
            there.sendall(ANSWER)
            there.close()

        threading.Thread(target=answer, daemon=True).start()
        return SimpleNamespace(socket=lambda _: here)


@pytest.mark.parametrize(
    "failure", [ApiException(status=500, reason="error dialing backend"), OSError("connection reset")]
)
def test_port_forward_with_a_failing_api_server_connects_later(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = Pods([failure, failure])
    monkeypatch.setattr(client, "KubernetesClient", lambda _: pods)
    monkeypatch.setattr(stream, "portforward", pods.forward)
    monkeypatch.setattr(retry, "PAUSE_SECONDS", 0.01)
    with port_forward(PodTarget("", "space", "app=server", 80)) as url:
        # The client of MLflow repeats no POST whose connection ends without an answer.
        assert requests.post(url, timeout=20).text == "ok"
    assert pods.failures == []
