"""Replicated stores as rendered: members on different machines, closed networks, and MLflow without a volume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
import yaml
from mlplatform.k8s.owned_objects import RELEASED
from mlplatform.stores import postgresql, replicated_stores, seaweedfs
from mlplatform.stores.store_choice import CLAIMS, _StoreChoiceProvider

from infra.dynamic_provider import UserError
from tests.preview.graph import Graph
from tests.preview.rendered import graph_of
from tests.preview.test_manifests import plain
from tests.stand_ins import Answering, answering, kubeconfig

MLFLOW = {
    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "mlplatform-tracking"}},
    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "mlflow"}},
}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of("replicated stores")


def variables(pod: dict[str, Any], container: str) -> dict[str, Any]:
    (found,) = [each for each in pod["containers"] if each["name"] == container]
    return {each["name"]: each.get("value") for each in found["env"]}


@pytest.mark.parametrize("name", [postgresql.NAME, seaweedfs.NAME])
def test_members_of_a_store_are_on_three_machines_with_a_volume_each(graph: Graph, name: str) -> None:
    found = plain(graph.of("StatefulSet")[name])
    spec, pod = found["spec"], found["spec"]["template"]["spec"]
    assert spec["replicas"] == 3
    (term,) = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchLabels"] == spec["selector"]["matchLabels"]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"
    assert claim["metadata"]["name"] in {mount["name"] for each in pod["containers"] for mount in each["volumeMounts"]}


def test_mlflow_keeps_everything_in_the_stores(graph: Graph) -> None:
    assert graph.of("PersistentVolumeClaim") == {}
    pod = plain(graph.of("Deployment")["mlflow"])["spec"]["template"]["spec"]
    assert next(each for each in pod["volumes"] if each["name"] == "data")["emptyDir"]
    values = variables(pod, "mlflow")
    assert values["MLFLOW_ARTIFACTS_DESTINATION"] == "s3://mlflow/artifacts"
    service = plain(graph.of("Service")[seaweedfs.S3_SERVICE])
    address = urlsplit(values["MLFLOW_S3_ENDPOINT_URL"])
    assert address.hostname == f"{seaweedfs.S3_SERVICE}.{replicated_stores.NAMESPACE}.svc"
    assert address.port == service["spec"]["ports"][0]["port"]
    secret = plain(graph.of("Secret")["mlflow"])["stringData"]
    users = "postgresql://users:postgresql-users-password@postgresql.mlplatform-stores.svc:5432/users?"
    assert f"database_uri = {users}" in secret["basic_auth.ini"]
    assert secret["MLFLOW_BACKEND_STORE_URI"].startswith("postgresql://mlflow:postgresql-mlflow-password@")


def test_stores_accept_connections_from_mlflow_and_from_each_other_only(graph: Graph) -> None:
    policies = {name: plain(each)["spec"] for name, each in graph.of("NetworkPolicy").items()}
    members, objects = ({"podSelector": {"matchLabels": each.LABELS}} for each in (postgresql, seaweedfs))

    def peers(policy: str) -> list[tuple[dict[str, Any], list[int] | None]]:
        rules = policies[policy]["ingress"]
        ports = [[port["port"] for port in rule["ports"]] if "ports" in rule else None for rule in rules]
        return [(peer, port) for rule, port in zip(rules, ports, strict=True) for peer in rule["from"]]

    assert peers(postgresql.NAME) == [(MLFLOW, [5432]), (objects, [5432]), (members, [5432, 8008])]
    assert peers(seaweedfs.NAME) == [(MLFLOW, [8333]), (objects, None)]
    reached = [(rule["to"], rule["ports"][0]["port"]) for rule in policies["mlflow"]["egress"]]
    assert [port for _, port in reached] == [53, 5432, 8333]
    stores = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": replicated_stores.NAMESPACE}}}
    assert [to for to, _ in reached[1:]] == [[stores | members], [stores | objects]]


def test_service_of_the_database_leads_where_patroni_says(graph: Graph) -> None:
    settings = yaml.safe_load((postgresql.FILES / "patroni.yaml").read_text())
    services = graph.of("Service")
    assert settings["scope"] == postgresql.NAME
    assert not services[settings["scope"]]["spec"].get("selector")
    assert {f"{settings['scope']}-config", f"{settings['scope']}-sync"} <= services.keys()
    pod = plain(graph.of("StatefulSet")[postgresql.NAME])["spec"]["template"]
    assert pod["metadata"]["labels"] == {**settings["kubernetes"]["labels"]}
    assert settings["kubernetes"]["scope_label"] in settings["kubernetes"]["labels"]
    assert settings["bootstrap"]["dcs"]["synchronous_mode"] is True
    mounted = {each["mountPath"] for each in pod["spec"]["containers"][0]["volumeMounts"]}
    assert any(settings["postgresql"]["data_dir"].startswith(f"{path}/") for path in mounted)


def test_each_object_has_two_copies_on_all_masters(graph: Graph) -> None:
    pod = plain(graph.of("StatefulSet")[seaweedfs.NAME])["spec"]["template"]["spec"]
    server, gateway = (each["command"] for each in pod["containers"])
    (peers,) = [each.partition("=")[2].split(",") for each in server if each.startswith("-master.peers=")]
    assert peers == [f"objects-{number}.objects.mlplatform-stores.svc:9333" for number in range(3)]
    assert f"-master={','.join(peers)}" in gateway
    assert "-master.defaultReplication=001" in server
    assert "-defaultReplicaPlacement=001" in gateway
    headless = graph.of("Service")[seaweedfs.NAME]["spec"]
    assert headless["clusterIP"] == "None"
    (user,) = json.loads(plain(graph.of("Secret")[seaweedfs.NAME])["stringData"]["s3.json"])["identities"]
    assert user["credentials"] == [{"accessKey": "mlflow", "secretKey": "objects-secret-key"}]


class Claims(Answering):
    """An API server with claims by path."""

    found: ClassVar[dict[str, dict[str, Any]]] = {}

    def do_GET(self) -> None:
        claim = type(self).found.get(self.path)
        self.answer(200 if claim else 404, claim or {})


@pytest.fixture
def server() -> Iterator[str]:
    Claims.found = {}
    with answering(Claims) as address:
        yield address


@pytest.mark.parametrize(("old", "new"), [("single", "replicated"), ("replicated", "single")])
def test_change_of_stores_with_data_raises_with_the_way_to_move_them(server: str, old: str, new: str) -> None:
    provider = _StoreChoiceProvider()
    inputs = {"stores": old, "kubeconfig": kubeconfig(server)}
    state = provider.create(inputs).outs
    assert state is not None
    assert not provider.diff("stores", state, inputs).changes
    changed = inputs | {"stores": new}
    assert provider.diff("stores", state, changed).changes
    namespace, _, name = CLAIMS[new].partition("/")
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    Claims.found[f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"] = {"metadata": metadata}
    for refused in (lambda: provider.update("stores", state, changed), lambda: provider.create(changed)):
        with pytest.raises(UserError, match=rf"platform:stores: {new} stores do not read .*make backup.*make restore"):
            refused()
    metadata["annotations"] = {RELEASED: "true"}
    updated = provider.update("stores", state, changed).outs
    assert updated is not None
    assert updated["stores"] == new
