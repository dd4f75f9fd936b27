"""Rollout of a Deployment with working and failing pods, in a stand-in for a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.dynamic_provider import UserError
from tests.stand_ins import Answering, answering, kubeconfig
from workloads.serving.rollout import DIGEST, MANAGER, _RolloutProvider, with_digest

GOOD, BAD = "good", "bad"
APPLIED = {"manager": "pulumi", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
ROLLED_BACK = {"manager": MANAGER, "operation": "Update", "fieldsV1": {"f:spec": {"f:template": {}}}}


def template(digest: str) -> dict[str, Any]:
    labels = {"app": "a", "pod-template-hash": digest}
    return {"metadata": {"labels": labels, "annotations": {DIGEST: digest}}, "spec": {"containers": []}}


def replica_set(digest: str, revision: int, available: int) -> dict[str, Any]:
    return {
        "metadata": {
            "name": f"d-{digest}",
            "annotations": {"deployment.kubernetes.io/revision": str(revision)},
            "ownerReferences": [{"uid": "1", "kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}],
        },
        "spec": {"selector": {"matchLabels": {"app": "a"}}, "template": template(digest)},
        "status": {"replicas": available, "availableReplicas": available},
    }


class Cluster(Answering):
    """Cluster with one Deployment, its working templates and the ReplicaSets of all its templates.

    `unobserved` is the number of reads that still return the status of the template before.
    """

    live: str
    works: set[str]
    unobserved: int
    sets: list[dict[str, Any]]
    managers: list[dict[str, Any]]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path.endswith("/deployments/d"):
            self.answer(200, self.deployment())
        elif "/deployments/" in path:
            self.answer(404, {"message": "not found"})
        elif path.endswith("/replicasets"):
            self.answer(200, {"items": type(self).sets})
        elif path.endswith("/pods"):
            self.answer(200, {"items": [self.pod(GOOD), self.pod(BAD)]})
        elif path.endswith("/nodes"):
            self.answer(200, {"items": []})

    def do_PATCH(self) -> None:
        cluster = type(self)
        for operation in json.loads(self.rfile.read(int(self.headers["Content-Length"]))):
            match operation["path"]:
                case "/spec/template":
                    assert "pod-template-hash" not in operation["value"]["metadata"]["labels"]
                    cluster.live = operation["value"]["metadata"]["annotations"][DIGEST]
                    cluster.managers = [*cluster.managers, ROLLED_BACK]
                case "/metadata/managedFields":
                    cluster.managers = operation["value"]
        self.answer(200, self.deployment())

    def deployment(self) -> dict[str, Any]:
        cluster = type(self)
        cluster.unobserved -= 1
        observed = cluster.unobserved < 0
        good = not observed or cluster.live in cluster.works
        return {
            "metadata": {"uid": "1", "generation": 2, "resourceVersion": "7", "managedFields": cluster.managers},
            "spec": {
                "replicas": 2,
                "progressDeadlineSeconds": 1,
                "selector": {"matchLabels": {"app": "a"}},
                "template": template(cluster.live),
            },
            "status": {
                "observedGeneration": 2 if observed else 1,
                "replicas": 2 if good else 3,
                "updatedReplicas": 2 if good else 1,
                "availableReplicas": 2,
            },
        }

    def pod(self, digest: str) -> dict[str, Any]:
        ended = {"terminated": {"exitCode": 1, "message": f"the {digest} one said this\n"}}
        status = {"name": "fetch", "state": {}, "lastState": ended, "image": "", "imageID": "", "ready": False}
        return {
            "metadata": {"name": f"d-{digest}-x", "annotations": {DIGEST: digest}},
            "spec": {"containers": []},
            "status": {"initContainerStatuses": [status | {"restartCount": 3}]},
        }


@pytest.fixture
def props() -> Iterator[dict[str, Any]]:
    Cluster.live, Cluster.works, Cluster.managers, Cluster.unobserved = BAD, {GOOD}, [APPLIED], 0
    # An older template still has a pod, and a newer one failed before.
    others = [replica_set("older", 1, 1), replica_set("failed", 3, 0)]
    Cluster.sets = [*others, replica_set(GOOD, 2, 2), replica_set(BAD, 4, 0)]
    with answering(Cluster) as url:
        yield {
            "kubeconfig": kubeconfig(url),
            "namespace": "n",
            "deployment": "d",
            "labels": {"app": "a"},
            "digest": BAD,
        }


def test_update_with_failing_pods_rolls_back_and_reports_their_messages(props: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        _RolloutProvider().update("n/d", props, props)
    error = str(caught.value)
    assert error.startswith("n/d: its new pods do not serve within 1 s\n  d-bad-x: fetch: the bad one said this\n")
    assert "the good one" not in error
    assert "rolled back" in error
    assert Cluster.live == GOOD


def test_update_does_not_take_the_status_of_the_pods_before_for_that_of_the_new_ones(props: dict[str, Any]) -> None:
    Cluster.unobserved = 3
    with pytest.raises(UserError, match="its new pods do not serve"):
        _RolloutProvider().update("n/d", props, props)
    assert Cluster.live == GOOD


def test_rollback_transfers_its_fields_to_the_manager_of_the_deployment(props: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        _RolloutProvider().update("n/d", props, props)
    (owner,) = Cluster.managers
    assert owner["manager"] == "pulumi"
    assert owner["fieldsV1"] == {"f:spec": {"f:replicas": {}, "f:template": {}}}


def test_update_after_a_rollback_tries_the_new_template_again(props: dict[str, Any]) -> None:
    Cluster.live, Cluster.works = GOOD, {GOOD, BAD}
    _RolloutProvider().update("n/d", props, props)
    assert Cluster.live == BAD


def test_create_with_failing_pods_without_earlier_pods_rolls_nothing_back(props: dict[str, Any]) -> None:
    Cluster.sets = [replica_set("failed", 1, 0), replica_set(BAD, 2, 0)]
    with pytest.raises(UserError, match="There is no earlier version with available pods to roll back to"):
        _RolloutProvider().create(props)
    assert Cluster.live == BAD


def test_update_of_a_template_from_outside_pulumi_leaves_it(props: dict[str, Any]) -> None:
    Cluster.live = "manual-change"
    Cluster.sets = [replica_set(GOOD, 2, 2)]
    with pytest.raises(UserError, match=r"n/d: the pod template was changed outside Pulumi; run `make up`"):
        _RolloutProvider().update("n/d", props, props)
    assert Cluster.live == "manual-change"


def test_update_of_a_deleted_deployment_names_it(props: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="n/gone: Deployment not found, it was deleted outside Pulumi"):
        _RolloutProvider().update("n/gone", props, props | {"deployment": "gone"})


def test_with_digest_of_different_templates_differs() -> None:
    one = with_digest({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a"}]}})
    other = with_digest({"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "b"}]}})
    assert one["metadata"]["annotations"][DIGEST] != other["metadata"]["annotations"][DIGEST]
    assert one["metadata"]["labels"] == {"app": "a"}
