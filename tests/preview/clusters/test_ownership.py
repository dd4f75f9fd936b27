"""Objects of others in a cluster that exists: refused before anything is changed, and never released."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from mlplatform.cluster_objects import created_objects
from mlplatform.cluster_provisioning import provision_managed_cluster
from mlplatform.k8s.owned_objects import OWNER, RELEASED, ClusterObject, owner_labels, release, take_ownership
from mlplatform.k8s.ownership import ObjectOwnership
from mlplatform.platform import cluster_platform

from infra.cluster import MANAGED
from infra.dynamic_provider import UserError
from settings.stack import StackSettings
from tests.preview.graph import Graph, run
from tests.stand_ins import Answering, answering, kubeconfig

OURS = owner_labels("mlplatform", "managed")
NAMESPACE = ClusterObject("Namespace", "kubeflow", "Rename or delete the one that exists, or set X")
ROLE = ClusterObject("ClusterRole", "prometheus", "Rename it")
ACCOUNT = ClusterObject("ServiceAccount", "metrics-server", "Rename it", "kube-system")
API_SERVICE = {"metadata": {"name": "kubernetes"}, "spec": {"clusterIP": "10.96.0.1"}}
API_ENDPOINTS = {"metadata": {"name": "kubernetes"}, "endpoints": [{"addresses": ["192.0.2.11"]}]}
CLAIMS = "/api/v1/namespaces/kubeflow/persistentvolumeclaims"


class Cluster(Answering):
    """An API server with objects by path; `status` refuses all requests."""

    status = 200
    objects: ClassVar[dict[str, Any]] = {}
    changes: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        found = type(self).objects.get(self.path)
        self.answer(type(self).status if found or type(self).status != 200 else 404, found or {})

    def do_PATCH(self) -> None:
        type(self).changes.append(self.path)
        assert self.headers["Content-Type"] == "application/merge-patch+json"
        patched = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["metadata"]["annotations"]
        annotations = type(self).objects[self.path]["metadata"].setdefault("annotations", {})
        for name, value in patched.items():
            if value is None:
                annotations.pop(name, None)
            else:
                annotations[name] = value
        self.answer(200, type(self).objects[self.path])


@pytest.fixture
def server() -> Iterator[str]:
    Cluster.status, Cluster.changes = 200, []
    Cluster.objects = {
        "/api/v1/namespaces/kube-system": {"metadata": {"name": "kube-system", "uid": "uid-1"}},
        "/api/v1/namespaces/default/services/kubernetes": API_SERVICE,
        "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes": API_ENDPOINTS,
    }
    with answering(Cluster) as address:
        yield address


def props(server: str, *objects: ClusterObject) -> dict[str, Any]:
    return {"kubeconfig": kubeconfig(server), "owner": OURS[OWNER], "objects": [vars(each) for each in objects]}


def exists(each: ClusterObject, labels: dict[str, str] | None = None, **annotations: str) -> None:
    metadata = {"name": each.name, "labels": labels or {}, "annotations": annotations}
    Cluster.objects[each.path] = {"metadata": metadata}


def claim_exists(name: str, storage_class: str, labels: dict[str, str]) -> None:
    spec = {"storageClassName": storage_class, "resources": {"requests": {"storage": "10Gi"}}}
    items = Cluster.objects.setdefault(CLAIMS, {"items": []})["items"]
    items.append({"metadata": {"name": name, "labels": labels}, "spec": spec})


def test_take_ownership_of_free_names_returns_the_addresses_of_the_api_server(server: str) -> None:
    assert take_ownership(props(server, NAMESPACE, ROLE, ACCOUNT)) == {
        "cluster_uid": "uid-1",
        "claim_classes": {},
        "api_addresses": ["10.96.0.1", "192.0.2.11"],
    }
    assert Cluster.changes == []


def test_take_ownership_of_foreign_objects_names_each_with_its_remedy_and_changes_nothing(server: str) -> None:
    exists(NAMESPACE)
    exists(ROLE, {"app.kubernetes.io/managed-by": "Helm"})
    exists(ACCOUNT, MANAGED)
    with pytest.raises(UserError) as error:
        take_ownership(props(server, NAMESPACE, ROLE, ACCOUNT))
    _, *lines = str(error.value).splitlines()
    assert lines == [
        "- Namespace kubeflow: another program or person created it. Rename or delete the one that exists, or set X",
        "- ClusterRole prometheus: another program or person created it. Rename it",
        "- ServiceAccount metrics-server in the namespace kube-system: another program or person created it. Rename it",
    ]
    assert Cluster.changes == []


def test_take_ownership_of_another_stacks_object_names_that_stack(server: str) -> None:
    exists(NAMESPACE, owner_labels("mlplatform", "onprem"), **{RELEASED: "true"})
    with pytest.raises(UserError, match=r"Namespace kubeflow: it belongs to the stack mlplatform\.onprem\. Rename or"):
        take_ownership(props(server, NAMESPACE))


def test_take_ownership_of_a_stack_of_the_same_name_in_use_raises_with_the_command(server: str) -> None:
    exists(ACCOUNT, OURS)
    command = "kubectl annotate --namespace kube-system serviceaccount metrics-server mlplatform/released=true"
    with pytest.raises(UserError, match=f"a stack of this name uses it, from another state.*{command}"):
        take_ownership(props(server, ACCOUNT))


def test_take_ownership_of_released_objects_takes_them_with_the_classes_of_their_claims(server: str) -> None:
    exists(NAMESPACE, OURS, **{RELEASED: "true"})
    claim_exists("mysql", "premium", OURS)
    claim_exists("notebook", "other", {})
    assert take_ownership(props(server, NAMESPACE, ROLE))["claim_classes"] == {"kubeflow/mysql": "premium"}
    assert Cluster.changes == [NAMESPACE.path]
    assert Cluster.objects[NAMESPACE.path]["metadata"]["annotations"] == {}


def test_take_ownership_with_a_state_checks_only_new_objects(server: str) -> None:
    olds = props(server, NAMESPACE)
    olds |= take_ownership(olds)
    exists(NAMESPACE)
    assert take_ownership(props(server, NAMESPACE), olds)
    exists(ROLE, OURS)  # left by a part that was removed from the settings
    assert take_ownership(props(server, NAMESPACE, ROLE), olds)
    exists(ROLE)
    with pytest.raises(UserError, match="ClusterRole prometheus"):
        take_ownership(props(server, NAMESPACE, ROLE), olds)


def test_take_ownership_in_another_cluster_than_before_checks_all_objects(server: str) -> None:
    olds = props(server, NAMESPACE)
    olds |= take_ownership(olds)
    Cluster.objects["/api/v1/namespaces/kube-system"]["metadata"]["uid"] = "uid-2"
    exists(NAMESPACE)
    with pytest.raises(UserError, match="Namespace kubeflow: another program"):
        take_ownership(props(server, NAMESPACE), olds)


def test_take_ownership_in_a_refusing_or_missing_cluster_raises_with_its_address(server: str) -> None:
    Cluster.status = 403
    with pytest.raises(UserError, match=rf"the cluster at {server} answered 403 .*check the rights"):
        take_ownership(props(server, NAMESPACE))
    with pytest.raises(UserError, match=r"the cluster at http://127\.0\.0\.1:1 does not answer"):
        take_ownership(props("http://127.0.0.1:1", NAMESPACE))


def test_release_marks_own_objects_only_and_logs_the_kept_volumes(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    monkeypatch.setattr("pulumi.log.warn", warnings.append)
    exists(NAMESPACE, OURS)
    exists(ROLE)
    claim_exists("mysql", "premium", OURS)
    claim_exists("notebook", "other", {})
    release(props(server, NAMESPACE, ROLE, ACCOUNT))
    assert Cluster.changes == [NAMESPACE.path]
    assert Cluster.objects[NAMESPACE.path]["metadata"]["annotations"] == {RELEASED: "true"}
    (warning,) = warnings
    assert "kubeflow/mysql (10Gi)" in warning
    assert "notebook" not in warning
    assert warning.endswith("kubectl delete namespace kubeflow")
    assert take_ownership(props(server, NAMESPACE))["claim_classes"] == {"kubeflow/mysql": "premium"}


@pytest.mark.parametrize(
    ("stack", "expected"),
    [
        ("managed", "mlplatform.managed"),
        ("a.b_c-1", "mlplatform.a.b_c-1"),
        ("x" * 60, f"mlplatform.{'x' * 35}-"),
        ("ends-", "mlplatform.ends-"),
    ],
)
def test_owner_labels_is_a_label_value_of_every_stack(stack: str, expected: str) -> None:
    value = owner_labels("mlplatform", stack)[OWNER]
    assert value.startswith(expected)
    assert len(value) <= 63
    assert value[-1].isalnum()


ALL: dict[str, Any] = {
    "platform": {
        "storage": "openebs",
        "metrics": "own",
        "load_balancer": {"addresses": "10.9.8.0/28"},
        "monitoring": {},
        "pipelines": "kubeflow",
    },
    "workloads": {"pipelines": {"iris-external": {"serve": True, "model": "iris"}}},
}
REPLICATED: dict[str, Any] = {"platform": {"stores": "replicated"}}
CLUSTER_KINDS = {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "StorageClass"}


def rendered(settings: StackSettings) -> Graph:
    """Return the objects of a stack on a cluster that exists, with the namespace of model servers."""

    def program() -> None:
        from workloads.serving.kubernetes import serving_namespace

        provisioned = provision_managed_cluster(settings, "managed", Path("/nowhere"))
        platform = cluster_platform(settings, provisioned, Path("/nowhere"), "managed")
        assert platform.target
        if settings.workloads.pipelines:
            serving_namespace(platform.target, platform.tracking)

    with patch("infra.managed.managed_cluster.wait_for_api_server", lambda kubeconfig: kubeconfig):
        return run(program)[0]


def stack_settings(**sections: Any) -> StackSettings:
    platform = {
        "pipelines": "job",
        "registry": {"url": "https://registry.example.com", "username": "u", "password": "p"},
        **sections.get("platform", {}),
    }
    infra = {"cluster": "existing", "existing": {"kubeconfig": kubeconfig("http://127.0.0.1:1")}}
    return StackSettings.model_validate({"infra": infra, **sections, "platform": platform})


@pytest.mark.parametrize("sections", [{}, ALL, REPLICATED], ids=["smallest", "all", "replicated"])
def test_created_objects_are_all_objects_outside_the_stacks_namespaces(sections: dict[str, Any]) -> None:
    settings = stack_settings(**sections)
    objects = [each for each in rendered(settings).resources.values() if "apiVersion" in each]
    namespaces = {each["metadata"]["name"] for each in objects if each["kind"] == "Namespace"}
    outside = {
        (each["kind"], each["metadata"]["name"])
        for each in objects
        if each["kind"] in {*CLUSTER_KINDS, "APIService"} or each["metadata"].get("namespace") not in namespaces
    }
    listed = {(each.kind, each.name) for each in created_objects(settings)}
    assert listed == outside
    assert ("Namespace", "mlplatform-tracking") in listed


def test_every_object_in_a_cluster_that_exists_has_the_owner_labels() -> None:
    objects = [each for each in rendered(stack_settings(**ALL)).resources.values() if "apiVersion" in each]
    assert len(objects) > 100
    unlabelled = [each for each in objects if not each["metadata"].get("labels", {}).items() >= OURS.items()]
    assert unlabelled == []
    template = next(each for each in objects if each["kind"] == "Deployment")["spec"]["template"]
    assert OWNER not in template["metadata"]["labels"]


def test_cluster_that_exists_gives_every_object_the_ownership_as_a_dependency() -> None:
    found: list[Any] = []

    def program() -> None:
        cluster = provision_managed_cluster(stack_settings(), "managed", Path("/nowhere")).cluster
        found.extend(cluster.options().depends_on or [])  # type: ignore[arg-type]

    with patch("infra.managed.managed_cluster.wait_for_api_server", lambda kubeconfig: kubeconfig):
        run(program)
    assert any(isinstance(each, ObjectOwnership) for each in found)
