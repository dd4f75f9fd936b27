"""Program that watches the nodes of a cluster: `python3 -m mlplatform.failover.watch`.

Kubernetes needs the grace period of its node monitor to find a dead node. Until then, Services send requests to the
pods of that node. This program connects to each node several times a second. If a node is silent, it sets the pods of
the node to not ready, as Kubernetes does later. It changes neither the node nor its taints, so no pod is evicted. The
kubelet of a node that lives sets its pods to ready again within ten seconds.

API_SERVER is the address of the API server on this node, NODE_NAME the name of this node.
"""

from __future__ import annotations

import json
import os
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mlplatform.failover.dead_nodes import DeadNodes
from mlplatform.failover.probe import responding_hosts

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PORT = 10256
"""Port of the health check of kube-proxy."""
ROUND_SECONDS = 0.25
ROUNDS = 6
"""A node is dead after this number of silent rounds."""
REFRESH_SECONDS = 30
"""Time between two reads of the nodes' addresses."""
API_SECONDS = 3
NOT_READY = {"type": "Ready", "status": "False", "reason": "NodeUnreachable", "message": "the node does not respond"}


class ApiError(Exception):
    """A request that the API server refused."""


class PodReadiness:
    """Reads the nodes and pods of a cluster, and sets pods to not ready.

    Args:
        connect: opens a connection to the API server.
        token: returns the bearer token; Kubernetes renews it every hour.
    """

    def __init__(self, connect: Callable[[], HTTPConnection], token: Callable[[], str]) -> None:
        self._connect, self._token = connect, token

    def node_addresses(self, without: str) -> dict[str, str]:
        """Return the internal address of each node but one, by name.

        Raises:
            ApiError, OSError, HTTPException: the API server refused, or does not respond.
        """
        with closing(self._connect()) as connection:
            nodes = self._request(connection, "GET", "/api/v1/nodes?resourceVersion=0")["items"]
        addresses = {node["metadata"]["name"]: _internal_address(node) for node in nodes}
        return {name: address for name, address in addresses.items() if address and name != without}

    def revoke(self, node: str) -> int:
        """Set the ready pods of a node to not ready; return their number.

        Raises:
            ApiError, OSError, HTTPException: the API server refused, or does not respond.
        """
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        body = {"status": {"conditions": [{**NOT_READY, "lastTransitionTime": now}]}}
        query = f"fieldSelector={quote(f'spec.nodeName={node}')}&resourceVersion=0"
        with closing(self._connect()) as connection:
            pods = self._request(connection, "GET", f"/api/v1/pods?{query}")["items"]
            ready = [pod["metadata"] for pod in pods if _is_ready(pod)]
            for pod in ready:
                path = f"/api/v1/namespaces/{pod['namespace']}/pods/{pod['name']}/status"
                self._request(connection, "PATCH", path, body)
        return len(ready)

    def _request(self, connection: HTTPConnection, method: str, path: str, body: Any = None) -> Any:
        """Return the object of the response, and an empty one for a pod that is deleted meanwhile."""
        headers = {
            "Authorization": f"Bearer {self._token()}",
            "Accept": "application/json",
            "Content-Type": "application/strategic-merge-patch+json",
        }
        connection.request(method, path, json.dumps(body) if body else None, headers)
        response = connection.getresponse()
        text = response.read().decode()
        if response.status == 404 and method == "PATCH":
            return {}
        if response.status != 200:
            raise ApiError(f"{method} {path}: status {response.status}: {text[:300]}")
        return json.loads(text)


def _internal_address(node: Mapping[str, Any]) -> str | None:
    addresses = node["status"].get("addresses", [])
    return next((each["address"] for each in addresses if each["type"] == "InternalIP"), None)


def _is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = pod["status"].get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


class NodeObserver:
    """Probes all other nodes in rounds, and takes the pods of dead nodes out of their Services."""

    def __init__(self, readiness: PodReadiness, own_node: str, port: int = PORT) -> None:
        self._readiness, self._own_node, self._port = readiness, own_node, port
        self._addresses: dict[str, str] = {}
        self._refresh_at = 0.0
        self._dead = DeadNodes(ROUNDS)
        self._revoked: set[str] = set()
        self._last_fault = ""

    def observe(self) -> None:
        """Run one round of probes. After a fault of the API server, the next round tries again."""
        if time.monotonic() >= self._refresh_at:
            with self._logged_faults():
                self._addresses = self._readiness.node_addresses(self._own_node)
                self._refresh_at = time.monotonic() + REFRESH_SECONDS
        responding = responding_hosts(self._addresses.values(), self._port, ROUND_SECONDS)
        self._dead.observe({name: address in responding for name, address in self._addresses.items()})
        for name in self._revoked - self._dead.names:
            self._revoked.remove(name)
            print(f"{name} responds again", flush=True)
        for name in self._dead.names - self._revoked:
            with self._logged_faults():
                number = self._readiness.revoke(name)
                self._revoked.add(name)
                print(f"{name} does not respond: {number} of its pods are set to not ready", flush=True)

    @contextmanager
    def _logged_faults(self) -> Iterator[None]:
        try:
            yield
        except (ApiError, OSError, HTTPException) as error:
            fault = f"the API server does not respond: {error}"
            if fault != self._last_fault:
                print(fault, flush=True)
            self._last_fault = fault


def main() -> None:
    """Observe the nodes until the program is stopped."""
    context = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")
    readiness = PodReadiness(
        lambda: HTTPSConnection(os.environ["API_SERVER"], 6443, timeout=API_SECONDS, context=context),
        lambda: (ACCOUNT / "token").read_text(),
    )
    observer = NodeObserver(readiness, os.environ["NODE_NAME"])
    while True:
        begin = time.monotonic()
        observer.observe()
        time.sleep(max(0.0, begin + ROUND_SECONDS - time.monotonic()))


if __name__ == "__main__":
    main()
