"""The way from this computer to the tracking server, wherever that is."""

from __future__ import annotations

import os
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from infra.dynamic import Failure

_OPENING = threading.Lock()
"""While it opens a connection, Kubernetes' client changes itself."""


@contextmanager
def reached(url: str, access: Mapping[str, str]) -> Iterator[str]:
    """The address at which the server answers as long as the block lasts; MLflow's client finds user and password.

    `access` is that of `mlplatform.tracking.TrackingServer`. With a kubeconfig in it, connections go to a pod through
    the API server.

    Raises:
        Failure: the server has no pod that is ready.
    """
    if "username" in access:
        os.environ |= {"MLFLOW_TRACKING_USERNAME": access["username"], "MLFLOW_TRACKING_PASSWORD": access["password"]}
    if "kubeconfig" not in access:
        yield url
        return
    with _Forwarder(access) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def credentials(access: Mapping[str, str]) -> tuple[str, str] | None:
    """User and password as `requests` takes them."""
    return (access["username"], access["password"]) if "username" in access else None


class _Forwarder(socketserver.ThreadingTCPServer):
    """Passes connections to a port of the loopback address on to a pod."""

    daemon_threads = True

    def __init__(self, access: Mapping[str, str]) -> None:
        from workloads.engines.api import Api

        self.access = access
        self.api = Api(access["kubeconfig"])
        self.pod = self._ready_pod()
        super().__init__(("127.0.0.1", 0), _Connection)

    def _ready_pod(self) -> str:
        namespace, selector = self.access["namespace"], self.access["selector"]
        pods = self.api.patiently(lambda: self.api.core.list_namespaced_pod(namespace, label_selector=selector)).items
        for pod in pods:
            if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or []):
                return str(pod.metadata.name)
        raise Failure(f"no pod of the namespace {namespace} with {selector} is ready")


class _Connection(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        from kubernetes.stream import portforward  # type: ignore[import-untyped]

        access, core = self.server.access, self.server.api.core
        with _OPENING:
            forward = portforward(
                core.connect_get_namespaced_pod_portforward, self.server.pod, access["namespace"], ports=access["port"]
            )
        remote = forward.socket(int(access["port"]))
        with closing(remote):
            _exchange(self.request, remote)


def _exchange(one: socket.socket, other: Any) -> None:
    """Pass bytes on in both directions until one side ends."""
    while True:
        for source in select.select([one, other], [], [])[0]:
            if not (content := source.recv(1 << 16)):
                return
            (other if source is one else one).sendall(content)
