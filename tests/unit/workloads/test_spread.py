"""Distribution of a model server's pods after the recovery of a node, in a stand-in for a cluster."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.stand_ins import Answering, answering, kubeconfig
from workloads.serving.rollout import DIGEST, _RolloutProvider

LABELS = {"app": "a", "track": "stable"}
SELECTOR = "labelSelector=app%3Da%2Ctrack%3Dstable"


class Cluster(Answering):
    """Cluster with nodes by name and taint, and pods by name and node."""

    taints: dict[str, str | None]
    pods: dict[str, str]
    budget: int
    """Number of evictions that the disruption budget rejects first."""
    next_node: str | None
    """Node of every new pod; None for the node with the fewest pods."""
    numbers: Iterator[int]

    def do_GET(self) -> None:
        cluster = type(self)
        path, _, query = self.path.partition("?")
        if path.endswith("/nodes"):
            self.answer(200, {"items": [self.node(name, taint) for name, taint in cluster.taints.items()]})
        elif path.endswith("/pods"):
            assert SELECTOR in query
            self.answer(200, {"items": [self.pod(name, node) for name, node in cluster.pods.items()]})
        elif path.endswith("/deployments/d"):
            self.answer(200, self.deployment())

    def do_POST(self) -> None:
        cluster = type(self)
        self.rfile.read(int(self.headers["Content-Length"]))
        if cluster.budget:
            cluster.budget -= 1
            self.answer(429, {"message": "it would violate the pod's disruption budget"})
            return
        name = self.path.split("/")[-2]
        del cluster.pods[name]
        on = Counter({node: 0 for node, taint in cluster.taints.items() if taint is None})
        on.update(cluster.pods.values())
        cluster.pods[f"new-{next(cluster.numbers)}"] = cluster.next_node or on.most_common()[-1][0]
        self.answer(201, {"kind": "Status", "status": "Success"})

    def node(self, name: str, taint: str | None) -> dict[str, Any]:
        taints = [{"key": "k", "effect": taint}] if taint and taint != "NotReady" else []
        ready = {"type": "Ready", "status": "False" if taint == "NotReady" else "True"}
        return {"metadata": {"name": name}, "spec": {"taints": taints}, "status": {"conditions": [ready]}}

    def pod(self, name: str, node: str) -> dict[str, Any]:
        conditions = [{"type": "Ready", "status": "True"}]
        return {
            "metadata": {"name": name},
            "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": conditions},
        }

    def deployment(self) -> dict[str, Any]:
        pods = len(type(self).pods)
        return {
            "metadata": {"uid": "1", "generation": 1},
            "spec": {
                "replicas": pods,
                "progressDeadlineSeconds": 5,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"annotations": {DIGEST: "t"}}, "spec": {"containers": []}},
            },
            "status": {
                "observedGeneration": 1,
                "replicas": pods,
                "updatedReplicas": pods,
                "availableReplicas": pods,
            },
        }


@pytest.fixture
def props(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setattr("infra.retry.PAUSE_SECONDS", 0.01)
    Cluster.taints = {"plane": "NoSchedule", "one": None, "two": None}
    Cluster.pods, Cluster.budget, Cluster.next_node, Cluster.numbers = {}, 0, None, count(1)
    with answering(Cluster) as url:
        config = kubeconfig(url)
        yield {
            "kubeconfig": config,
            "namespace": "n",
            "deployment": "d",
            "labels": LABELS,
            "digest": "t",
            "uid": "1",
            "spread": True,
        }


def refreshed(props: dict[str, Any]) -> dict[str, Any]:
    return _RolloutProvider().read("n/d", props).outs or {}


@pytest.mark.parametrize(
    ("taints", "pods", "spread"),
    [
        ({}, ["one", "two"], True),
        ({}, ["one", "one"], False),
        ({}, ["one"], True),
        ({}, [], True),
        ({"two": "NotReady"}, ["one", "one"], True),
        ({"two": "NoSchedule"}, ["one", "one"], True),
        ({"two": "PreferNoSchedule"}, ["one", "one"], False),
        # A pending pod has no node and does not count.
        ({"two": "NotReady"}, ["one", "two"], True),
        ({"three": None}, ["one", "one", "two"], False),
        ({}, ["one", "one", "two"], True),
        ({"one": "NotReady", "two": "NotReady"}, ["one", "one"], True),
    ],
)
def test_refresh_with_pods_on_nodes_returns_if_they_are_spread(
    props: dict[str, Any], taints: dict[str, str | None], pods: list[str], spread: bool
) -> None:
    Cluster.taints = Cluster.taints | taints
    Cluster.pods = {f"p{number}": node for number, node in enumerate(pods)}
    found = refreshed(props)
    assert found == props | {"spread": spread}
    assert _RolloutProvider().diff("", found, props).changes is not spread


def test_update_with_two_pods_on_a_node_moves_one(props: dict[str, Any]) -> None:
    Cluster.pods, Cluster.budget = {"a": "one", "b": "one"}, 2
    _RolloutProvider().update("n/d", refreshed(props), props)
    assert sorted(Cluster.pods.values()) == ["one", "two"]
    assert len(Cluster.pods.keys() & {"a", "b"}) == 1
    assert refreshed(props)["spread"] is True


def test_create_with_spread_pods_moves_none(props: dict[str, Any]) -> None:
    Cluster.pods = {"a": "one", "b": "two"}
    _RolloutProvider().create(props)
    assert Cluster.pods == {"a": "one", "b": "two"}


def test_update_with_replacements_on_the_same_node_moves_each_pod_at_most_once(
    props: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warned.append)
    Cluster.pods, Cluster.next_node = {"a": "one", "b": "one"}, "one"
    _RolloutProvider().update("n/d", refreshed(props), props)
    assert next(Cluster.numbers) == 3
    assert warned == ["n: the scheduler placed pods on the same node again; they stay there"]


def test_refresh_without_a_response_keeps_the_last_value(props: dict[str, Any]) -> None:
    nobody = kubeconfig("http://127.0.0.1:1")
    assert refreshed(props | {"kubeconfig": nobody}) == props | {"kubeconfig": nobody}
