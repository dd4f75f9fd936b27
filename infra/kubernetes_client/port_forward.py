"""Port-forward from this computer to a pod."""

from __future__ import annotations

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from infra.dynamic_provider import UserError

Text = TypeVar("Text")
"""`pulumi.Input[str]` in the Pulumi program, `str` in a resource provider."""


@dataclass(frozen=True)
class PodTarget(Generic[Text]):
    """Container port `port` of the pods in `namespace` that match the label selector `selector`."""

    kubeconfig: Text
    namespace: str
    selector: str
    port: int


@contextmanager
def port_forward(target: PodTarget[str]) -> Iterator[str]:
    """Yield a URL on the loopback interface; each connection goes to a ready pod of `target`.

    The forward ends with the block. A pod that is replaced meanwhile breaks its open connections only.

    Raises:
        UserError: no pod became ready before the retry timeout.
    """
    with _ForwardingServer(target) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


class _NoReadyPod(Exception):
    """Error for a target without a ready pod."""


class _ForwardingServer(socketserver.ThreadingTCPServer):
    """TCP server on the loopback interface that forwards each connection to a pod."""

    daemon_threads = True

    def __init__(self, target: PodTarget[str]) -> None:
        from infra.kubernetes_client.client import KubernetesClient
        from infra.retry import retry

        self._target = target
        self._api = KubernetesClient(target.kubeconfig)
        self._connect_lock = threading.Lock()
        retry(self._ready_pod, _no_pod_reason, f"{target.selector} in the namespace {target.namespace}")
        super().__init__(("127.0.0.1", 0), _ForwardedConnection)

    def connect_to_pod(self) -> Any:
        """Return a socket that is connected to the port of a ready pod."""
        from kubernetes.stream import portforward  # type: ignore[import-untyped]

        port = self._target.port
        # `portforward` replaces a method of the API client while it connects: one connection at a time.
        with self._connect_lock:
            forward = portforward(
                self._api.core.connect_get_namespaced_pod_portforward,
                self._ready_pod(),
                self._target.namespace,
                ports=str(port),
            )
        return forward.socket(port)

    def _ready_pod(self) -> str:
        namespace, selector = self._target.namespace, self._target.selector
        pods = self._api.retry(lambda: self._api.core.list_namespaced_pod(namespace, label_selector=selector)).items
        for pod in pods:
            ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or [])
            if ready and pod.metadata.deletion_timestamp is None:
                return str(pod.metadata.name)
        raise _NoReadyPod


def _no_pod_reason(error: Exception) -> str | None:
    return "no pod is ready" if isinstance(error, _NoReadyPod) else None


def _connection_error(error: Exception) -> str | None:
    from kubernetes.client import ApiException  # type: ignore[import-untyped]

    return str(error) if isinstance(error, _NoReadyPod | ApiException | OSError) else None


class _ForwardedConnection(socketserver.BaseRequestHandler):
    server: _ForwardingServer

    def handle(self) -> None:
        from infra.retry import retry

        try:
            # A client may not repeat a request whose connection ends without an answer.
            pod_socket = retry(self.server.connect_to_pod, _connection_error, "the pod")
        except UserError:
            return  # the client sees a closed connection
        with closing(pod_socket):
            _copy_both_ways(self.request, pod_socket)


def _copy_both_ways(client: socket.socket, pod: Any) -> None:
    """Copy bytes in both directions until one side closes its connection."""
    while True:
        for source in select.select([client, pod], [], [])[0]:
            if not (content := source.recv(1 << 16)):
                return
            (pod if source is client else client).sendall(content)
