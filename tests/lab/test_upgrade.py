"""From an older Kubernetes to the one of this checkout, killed on the way, while somebody asks a Service."""

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
from airgap.bundle.builders.image import LAYOUT
from airgap.bundle.registry import bundle_registry
from airgap.bundle.registry.push import push
from airgap.bundle.store import RECORD, Store
from infra.kubeadm.node_commands import refusal
from settings.paths import VERSIONS
from tests.harness import Stack, changes

from .cluster import SERVER, TOOLS, Cluster, service, until
from .conftest import cluster_of

NEW = f"v{VERSIONS['kubernetes']['version']}"
NODE = "mlplatform.internal/node:"
NODES = ("control-plane", "worker-1", "worker-2")
SPACE = "served"
FAILED = 0.01
"""The part of the requests that may fail: those that are on their way to a pod when it goes."""


@pytest.fixture(scope="module")
def older() -> str:
    """The newest Kubernetes in the bundle's folder that can be upgraded to this one; its images are in the registry.

    The index names those of this checkout only; what others have built stays beside them.
    """
    store = Store.default()
    records = {file.parent: json.loads(file.read_text()) for file in (store.root / "images").glob(f"*/{RECORD}")}
    versions = [
        version
        for record in records.values()
        if (version := record["upstream"].removeprefix(NODE)) != record["upstream"]
        if version != NEW and refusal(version, NEW) is None
    ]
    if not versions:
        pytest.skip(
            "the bundle's folder has no older Kubernetes: in a copy of this checkout, set one as docs/air-gap.md says, "
            "and run `make bundle` there, then here"
        )
    return max(versions, key=lambda version: [int(number) for number in version.removeprefix("v").split(".")])


@pytest.fixture(scope="module")
def in_registry(older: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What the index does not name is pushed by an index of its own: all registries share their images."""
    store, folder = Store.default(), tmp_path_factory.mktemp("older")
    named = index.read(store)["images"]
    images = {}
    for file in (store.root / "images").glob(f"*/{RECORD}"):
        record = json.loads(file.read_text())
        if record["upstream"] not in named:
            images[record["upstream"]] = {"layout": str(file.parent / LAYOUT), "digest": record["digest"]}
    (folder / index.INDEX).write_text(json.dumps({"images": images}))
    with bundle_registry.writable(store) as own:
        push(Store(folder), own.host, own.authfile, own.certificates)


@dataclass
class Watch:
    """What nodes looked like, and how requests ended, from beginning to end."""

    cluster: Cluster
    address: str
    seen: list[tuple[float, dict[str, tuple[str, bool, bool]]]] = field(default_factory=list)
    """When, and of each node: kubelet's version, whether it is Ready, whether it takes pods."""
    answered: int = 0
    failed: list[tuple[float, str]] = field(default_factory=list)

    @contextmanager
    def watching(self) -> Iterator[None]:
        ended = threading.Event()
        threads = [threading.Thread(target=self._repeat, args=(act, ended)) for act in (self._look, self._ask)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            for thread in threads:
                thread.join()

    def state(self, node: str) -> tuple[str, bool, bool]:
        return self.seen[-1][1][node]

    def order(self) -> list[str]:
        """The nodes in the order in which they came to another version."""
        came = {node: next((at for at, nodes in self.seen if nodes[node][0] == NEW), None) for node in NODES}
        return sorted((node for node, at in came.items() if at), key=lambda node: came[node] or 0)

    def told(self) -> str:
        """All of it, for a person to read."""
        begin = self.seen[0][0]
        changed = [next(same) for _, same in groupby(self.seen, key=lambda seen: seen[1])]
        lines = [
            f"{at - begin:6.1f} s  " + ", ".join(f"{name} {state}" for name, state in nodes.items())
            for at, nodes in changed
        ]
        lost = [f"{at - begin:6.1f} s  {why}" for at, why in self.failed]
        return "\n".join([*lines, f"{self.answered} requests answered, {len(lost)} not", *lost])

    def _repeat(self, act: Callable[[], None], ended: threading.Event) -> None:
        while not ended.wait(0.2):
            act()

    def _look(self) -> None:
        # Without the API server nothing is known, and nothing changes.
        found = self.cluster.kubectl("get", "nodes", "-o", "json", "--request-timeout=3s", check=False)
        if found.startswith("{"):
            # Warnings of kubectl may follow.
            items = json.JSONDecoder().raw_decode(found)[0]["items"]
            nodes = {_name(item): _state(item) for item in items}
            # An API server that has just begun knows but some.
            if set(NODES) <= nodes.keys():
                self.seen.append((time.monotonic(), nodes))

    def _ask(self) -> None:
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
    """A Deployment of two pods behind an address, as somebody puts it who wants it to answer. Returns the address."""
    cluster.namespace(SPACE)
    labels = {"app": "served"}
    container = {
        "name": "main",
        "image": TOOLS,
        "command": ["perl", "-e", SERVER],
        "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        # Requests come for a moment after it was told to go.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
    }
    budget = {"selector": {"matchLabels": labels}, "maxUnavailable": 1}
    deployment = {
        "replicas": 2,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    named = {"metadata": {"name": "served", "namespace": SPACE}}
    cluster.apply(
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": deployment} | named,
        {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": budget} | named,
        {"apiVersion": "v1", "kind": "Secret", "stringData": {"word": "kept"}} | named,
        service("served", SPACE, "LoadBalancer"),
    )
    cluster.wait("--for=condition=Available", "deployment/served", "-n", SPACE)
    found = until(lambda: cluster.get("service", "served", "-n", SPACE)["status"]["loadBalancer"].get("ingress"))
    return f"http://{found[0]['ip']}/"


def uids(cluster: Cluster) -> set[str]:
    kinds = "deployments,daemonsets,services,secrets,configmaps,persistentvolumeclaims"
    return {item["metadata"]["uid"] for item in cluster.get(kinds, "-A")["items"]}


def ends(kubeconfig: str) -> float:
    """When the certificate of its user does."""
    user = yaml.safe_load(kubeconfig)["users"][0]["user"]
    return x509.load_pem_x509_certificate(b64decode(user["client-certificate-data"])).not_valid_after_utc.timestamp()


@pytest.mark.usefixtures("in_registry")
def test_an_upgrade_goes_from_node_to_node_is_gone_on_with_when_killed_and_is_not_noticed(
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
        until(lambda: watch.seen, what="looking at the nodes")
        assert all(watch.state(node) == (older, True, True) for node in NODES)
        killed = stack.command("up", "--yes", "--skip-preview")
        until(lambda: not watch.state("worker-1")[2], seconds=900, what="draining the first worker")
        children = psutil.Process(killed.pid).children(recursive=True)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        psutil.wait_procs(children, timeout=60)
        assert watch.state("control-plane") == (NEW, True, True)
        assert watch.state("worker-2") == (older, True, True)
        code, output = stack.pulumi("cancel", "--yes")
        assert code == 0, output
        stack.up()
        until(lambda: all(watch.state(node) == (NEW, True, True) for node in NODES), what="every node's being Ready")
    print(watch.told())

    assert watch.order() == list(NODES)
    busy = [{node for node, state in nodes.items() if not all(state[1:])} for _, nodes in watch.seen]
    assert all(len(nodes) <= 1 for nodes in busy), watch.told()
    assert len(watch.failed) <= FAILED * watch.answered, watch.told()
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
    assert ends(after["kubeconfig"]) > ends(before["kubeconfig"])
    assert set(changes(stack.up())) == {"unchanged"}
