"""The way from this computer to a server, wherever that is."""

from __future__ import annotations

import os
import select
import socket
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

from infra.dynamic_provider import UserError


@contextmanager
def reachable_url(url: str, access: Mapping[str, str]) -> Iterator[str]:
    """The address at which the server answers as long as the block lasts; MLflow's client finds user and password.

    `access` is that of `mlplatform.mlflow.TrackingServer`. With a kubeconfig in it, each connection goes through the
    API server to a pod of its `namespace` with its `selector` that is ready then, at its `port`.

    Raises:
        UserError: the server has no pod that is ready, and gets none for a while.
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


class _NoPod(Exception):
    """No pod is ready."""


class _Forwarder(socketserver.ThreadingTCPServer):
    """Passes connections to a port of the loopback address on to a pod."""

    daemon_threads = True

    def __init__(self, access: Mapping[str, str]) -> None:
        from infra.kubernetes_client.client import KubernetesClient
        from infra.retry import retry

        self._access = access
        self._api = KubernetesClient(access["kubeconfig"])
        self._opening = threading.Lock()
        retry(self._ready_pod, _why_no_pod, f"{access['selector']} in the namespace {access['namespace']}")
        super().__init__(("127.0.0.1", 0), _Connection)

    def connected(self) -> Any:
        """A socket whose other end is in a pod."""
        from kubernetes.stream import portforward  # type: ignore[import-untyped]

        port, namespace = self._access["port"], self._access["namespace"]
        with self._opening:  # the client changes itself meanwhile
            forward = portforward(
                self._api.core.connect_get_namespaced_pod_portforward, self._ready_pod(), namespace, ports=port
            )
        return forward.socket(int(port))

    def _ready_pod(self) -> str:
        namespace, selector = self._access["namespace"], self._access["selector"]
        pods = self._api.retry(lambda: self._api.core.list_namespaced_pod(namespace, label_selector=selector)).items
        for pod in pods:
            ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])
            if ready and pod.metadata.deletion_timestamp is None:
                return str(pod.metadata.name)
        raise _NoPod


def _why_no_pod(error: Exception) -> str | None:
    return "no pod is ready" if isinstance(error, _NoPod) else None


class _Connection(socketserver.BaseRequestHandler):
    server: _Forwarder

    def handle(self) -> None:
        from kubernetes.client import ApiException  # type: ignore[import-untyped]

        try:
            remote = self.server.connected()
        except (_NoPod, ApiException, UserError, OSError):
            return  # whoever wanted it sees it closed, and may come again
        with closing(remote):
            _exchange(self.request, remote)


def _exchange(one: socket.socket, other: Any) -> None:
    """Pass bytes on in both directions until one side ends."""
    while True:
        for source in select.select([one, other], [], [])[0]:
            if not (content := source.recv(1 << 16)):
                return
            (other if source is one else one).sendall(content)
