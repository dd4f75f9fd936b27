"""An upgrade of Kubernetes that is killed on the way, while clients send requests to a Service."""

from __future__ import annotations

import json
import signal
import threading
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from cryptography import x509

from airgap.bundle import index
from airgap.bundle.builders.debian_image import LAYOUT
from airgap.bundle.index import read_index
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.store import RECORD, Store
from infra.kubeadm.upgrade import upgrade_refusal
from settings.paths import VERSIONS
from tests.harness import Stack, changes

from .cluster import SERVER, TOOLS, Cluster, service, until
from .conftest import cluster_of

NEW = f"v{VERSIONS['kubernetes']['version']}"
NODE = "mlplatform.internal/node:"
NODES = ("control-plane", "worker-1", "worker-2")
SPACE = "served"
FAILED = 0.01
"""Share of requests that may fail: those in flight to a pod that ends."""


@pytest.fixture(scope="module")
def older() -> str:
    """Return the newest version in the bundle's folder that can be upgraded to the current one.

    The index names only the images of this checkout; images of older checkouts stay in the folder.
    """
    store = Store.default()
    records = {file.parent: json.loads(file.read_text()) for file in (store.root / "images").glob(f"*/{RECORD}")}
    versions = [
        version
        for record in records.values()
        if (version := record["upstream"].removeprefix(NODE)) != record["upstream"]
        if version != NEW and upgrade_refusal(version, NEW) is None
    ]
    if not versions:
        pytest.skip(
            "the bundle's folder has no older Kubernetes: in a copy of this checkout, set one as docs/air-gap.md says, "
            "and run `make bundle` there, then here"
        )
    return max(versions, key=lambda version: [int(number) for number in version.removeprefix("v").split(".")])


@pytest.fixture(scope="module")
def in_registry(older: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Push the images that the index does not name, by a second index; all registries share their images."""
    store, folder = Store.default(), tmp_path_factory.mktemp("older")
    indexed = read_index(store)["images"]
    images = {}
    for file in (store.root / "images").glob(f"*/{RECORD}"):
        record = json.loads(file.read_text())
        if record["upstream"] not in indexed:
            images[record["upstream"]] = {"layout": str(file.parent / LAYOUT), "digest": record["digest"]}
    (folder / index.INDEX).write_text(json.dumps({"images": images}))
    with bundle_registry.writable(store) as target:
        push(Store(folder), target.host, target.authfile, target.certificates)


@dataclass
class Watch:
    """A record of node states and request results during an upgrade."""

    cluster: Cluster
    address: str
    states: list[tuple[float, dict[str, tuple[str, bool, bool]]]] = field(default_factory=list)
    """Time, and for each node its kubelet version, whether it is Ready and whether it is schedulable."""
    answered: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        ended = threading.Event()
        threads = [
            threading.Thread(target=self._repeat, args=(act, ended)) for act in (self._read_nodes, self._request)
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def state(self, node: str) -> tuple[str, bool, bool]:
        return self.states[-1][1][node]

    def order(self) -> list[str]:
        """Return the nodes in the order of their upgrades."""
        upgraded = {node: next((at for at, nodes in self.states if nodes[node][0] == NEW), None) for node in NODES}
        return sorted((node for node, at in upgraded.items() if at), key=lambda node: upgraded[node] or 0)

    def report(self) -> str:
        """Return the record as text."""
        begin = self.states[0][0]
        changed = [next(same) for _, same in groupby(self.states, key=lambda state: state[1])]
        lines = [
            f"{at - begin:6.1f} s  " + ", ".join(f"{name} {state}" for name, state in nodes.items())
            for at, nodes in changed
        ]
        failures = [f"{at - begin:6.1f} s  {why}" for at, why in self.failed]
        return "\n".join([*lines, f"{self.answered} requests answered, {len(failures)} not", *failures])

    def _repeat(self, act: Callable[[], None], ended: threading.Event) -> None:
        while not ended.wait(0.2):
            act()

    def _read_nodes(self) -> None:
        # Without the API server, the states are unknown and unchanged.
        output = self.cluster.kubectl("get", "nodes", "-o", "json", "--request-timeout=3s", check=False)
        if output.startswith("{"):
            # kubectl may print warnings after the JSON.
            items = json.JSONDecoder().raw_decode(output)[0]["items"]
            nodes = {_name(item): _state(item) for item in items}
            # An API server that has just started may list only some nodes.
            if set(NODES) <= nodes.keys():
                self.states.append((time.monotonic(), nodes))

    def _request(self) -> None:
        try:
            with urllib.request.urlopen(self.address, timeout=3) as answer:
                assert answer.status == 200
            self.answered += 1
        except OSError as error:
            self.failed.append((time.monotonic(), str(error)))


def _name(node: dict[str, Any]) -> str:
    return str(node["metadata"]["name"])


def _state(node: dict[str, Any]) -> tuple[str, bool, bool]:
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"]["conditions"])
    return node["status"]["nodeInfo"]["kubeletVersion"], ready, not node["spec"].get("unschedulable", False)


def served(cluster: Cluster) -> str:
    """Deploy a Service with two pods, a readiness probe and a disruption budget; return its URL."""
    cluster.namespace(SPACE)
    labels = {"app": "served"}
    container = {
        "name": "main",
        "image": TOOLS,
        "command": ["perl", "-e", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        # Requests still arrive shortly after the pod's deletion.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
    }
    budget = {"selector": {"matchLabels": labels}, "maxUnavailable": 1}
    deployment = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    metadata = {"metadata": {"name": "served", "namespace": SPACE}}
    cluster.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": deployment} | metadata,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": budget} | metadata,
        {"apiVersion": "v1", "kind": "Secret", "stringData": {"word": "kept"}} | metadata,
        service("served", SPACE, "LoadBalancer"),
    )
    cluster.wait("--for=condition=Available", "deployment/served", "-n", SPACE)
    ingress = until(lambda: cluster.get("service", "served", "-n", SPACE)["status"]["loadBalancer"].get("ingress"))
    return f"http://{ingress[0]['ip']}/"


def uids(cluster: Cluster) -> set[str]:
    kinds = "deployments,daemonsets,services,secrets,configmaps,persistentvolumeclaims"
    return {item["metadata"]["uid"] for item in cluster.get(kinds, "-A")["items"]}


def expiry(kubeconfig: str) -> float:
    """Return the time in seconds at which the certificate of its user expires."""
    user = yaml.safe_load(kubeconfig)["users"][0]["user"]
    return x509.load_pem_x509_certificate(b64decode(user["client-certificate-data"])).not_valid_after_utc.timestamp()


@pytest.mark.usefixtures("in_registry")
def test_upgrade_after_a_kill_continues_node_by_node_without_an_outage(
    make_lab: Callable[[str], Stack], older: str, tmp_path: Path
) -> None:
    stack = make_lab("upgrade")
    stack.settings["infra:kubernetes"]["version"] = older.removeprefix("v")
    stack.up()
    cluster = cluster_of(stack, tmp_path)
    watch = Watch(cluster, served(cluster))
    before, objects = stack.outputs("--show-secrets"), uids(cluster)
    assert {node["version"] for node in before["nodes"]} == {older}

    stack.settings["infra:kubernetes"]["version"] = NEW.removeprefix("v")
    with watch.watching():
        until(lambda: watch.states, what="the first node states")
        assert all(watch.state(node) == (older, True, True) for node in NODES)
        killed = stack.command("up", "--yes", "--skip-preview")
        until(lambda: not watch.state("worker-1")[2], seconds=900, what="the drain of the first worker")
        children = psutil.Process(killed.pid).children(recursive=True)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        psutil.wait_procs(children, timeout=60)
        assert watch.state("control-plane") == (NEW, True, True)
        assert watch.state("worker-2") == (older, True, True)
        code, output = stack.pulumi("cancel", "--yes")
        assert code == 0, output
        stack.up()
        until(lambda: all(watch.state(node) == (NEW, True, True) for node in NODES), what="all nodes to be Ready")
    print(watch.report())

    assert watch.order() == list(NODES)
    busy = [{node for node, state in nodes.items() if not all(state[1:])} for _, nodes in watch.states]
    assert all(len(nodes) <= 1 for nodes in busy), watch.report()
    assert len(watch.failed) <= FAILED * watch.answered, watch.report()
    assert objects <= uids(cluster)
    secret = cluster.get("secret", "served", "-n", SPACE)
    assert b64decode(secret["data"]["word"]) == b"kept"
    running = {
        pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in cluster.get("pods", "-A")["items"]
    }
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert running[f"{name}-control-plane"] == f"registry.k8s.io/{name}:{NEW}"
    assert {image for name, image in running.items() if name.startswith("kube-proxy")} == {
        f"registry.k8s.io/kube-proxy:{NEW}"
    }

    after = stack.outputs("--show-secrets")
    assert {node["version"] for node in after["nodes"]} == {NEW}
    assert after["certificates_expire"] > before["certificates_expire"]
    assert expiry(after["kubeconfig"]) > expiry(before["kubeconfig"])
    assert set(changes(stack.up())) == {"unchanged"}
