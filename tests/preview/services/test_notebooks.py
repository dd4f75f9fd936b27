"""Notebooks as rendered: the hub and its rights, and what the servers of persons get."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mlplatform.notebook_hub.server_profiles import server_profiles

from policies import pods
from tests.preview.graph import Graph, run
from tests.preview.rendered import door, graph_of, text
from tests.preview.test_manifests import plain

HUB, SHOP, SCIENCE = "mlplatform-notebooks", "mlplatform-team-shop", "mlplatform-team-science"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return graph_of("notebooks of teams")


def settings_of(graph: Graph) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(plain(graph.of("ConfigMap")["notebooks-settings"])["data"]["settings.json"])
    return content


@pytest.mark.parametrize("rule", [pods.without_limits, pods.root_user, pods.plain_secret])
def test_pod_of_the_hub_obeys_the_policies(graph: Graph, rule: Callable[[str, Any], Iterator[str]]) -> None:
    (hub,) = graph.of("Deployment").values()
    assert list(rule("kubernetes:apps/v1:Deployment", hub)) == []


def test_hub_may_create_servers_but_delete_no_volume(graph: Graph) -> None:
    roles = {plain(each)["metadata"]["namespace"]: plain(each)["rules"] for each in graph.of("Role").values()}
    assert set(roles) == {SHOP, SCIENCE}
    assert roles[SHOP] == roles[SCIENCE]
    verbs = {rule["resources"][0]: rule["verbs"] for rule in roles[SHOP]}
    assert set(verbs) == {"pods", "persistentvolumeclaims", "events"}
    assert "delete" not in verbs["persistentvolumeclaims"]
    assert graph.of("ClusterRole") == {}
    bindings = [plain(each)["subjects"][0] for each in graph.of("RoleBinding").values()]
    assert bindings == [{"kind": "ServiceAccount", "name": "notebooks", "namespace": HUB}] * 2


def test_servers_of_a_team_get_its_environment_alone(graph: Graph) -> None:
    secrets = [plain(each) for each in graph.of("Secret").values()]
    words = [
        (each["metadata"]["namespace"], each["stringData"]["WORD"]) for each in secrets if "WORD" in each["stringData"]
    ]
    assert sorted(words) == [(SCIENCE, "of-science"), (SHOP, "of-shop")]


def test_only_the_door_and_servers_reach_the_hub_and_only_the_hub_reaches_servers(graph: Graph) -> None:
    policies = {name: plain(each)["spec"] for name, each in graph.of("NetworkPolicy").items()}
    from_door, from_servers = policies["notebooks"]["ingress"]
    assert from_door["from"] == [{"podSelector": {"matchLabels": {"of": "door"}}}]
    namespaces = [each["namespaceSelector"]["matchLabels"] for each in from_servers["from"]]
    assert [each["kubernetes.io/metadata.name"] for each in namespaces] == [SCIENCE, SHOP]
    (rule,) = policies[f"{SHOP}-notebook"]["ingress"]
    (hub,) = rule["from"]
    assert hub["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": HUB}


def test_key_of_the_hub_is_in_its_secret_alone(graph: Graph) -> None:
    having = [
        name
        for kind in ("Secret", "ConfigMap", "Deployment")
        for name, each in graph.of(kind).items()
        if "hub-key" in json.dumps(plain(each))
    ]
    assert having == ["notebooks"]
    assert "hub-key" in json.dumps(plain(graph.of("Secret")["notebooks"]))


def test_only_the_hub_connects_to_servers_and_servers_to_the_hub(graph: Graph) -> None:
    policies = {name: plain(each)["spec"] for name, each in graph.of("NetworkPolicy").items()}
    (ingress,) = policies[f"{SHOP}-notebook"]["ingress"]
    (peer,) = ingress["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": HUB}
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "notebooks"}
    by_door, by_servers = policies["notebooks"]["ingress"]
    assert [port["port"] for port in by_door["ports"]] == [8000, 8081]
    assert [port["port"] for port in by_servers["ports"]] == [8081]
    assert SHOP in json.dumps(by_servers["from"])


def test_settings_name_the_namespaces_the_sizes_and_a_restricted_pod(graph: Graph) -> None:
    settings = settings_of(graph)
    assert settings["spaces"] == {"shop": SHOP, "science": SCIENCE}
    assert [(each["name"], each["cpu"], each["memory_gb"]) for each in settings["sizes"]] == [
        ("small", 1, 4),
        ("large", 8, 4),
    ]
    assert settings["pod"]["securityContext"]["runAsNonRoot"] is True
    assert settings["pod"]["automountServiceAccountToken"] is False
    assert settings["container_security"]["capabilities"] == {"drop": ["ALL"]}
    assert settings["storage_class"] == "disk"


def test_person_chooses_among_own_teams_and_sizes(graph: Graph) -> None:
    settings = settings_of(graph)
    chosen = {each["slug"]: each["kubespawner_override"] for each in server_profiles(settings, ["shop", "gone"])}
    assert chosen == {
        "shop--small": {"namespace": SHOP, "cpu_limit": 1, "mem_limit": "4G"},
        "shop--large": {"namespace": SHOP, "cpu_limit": 8, "mem_limit": "4G"},
    }
    assert server_profiles(settings, []) == []
    assert [each["slug"] for each in server_profiles(settings_of(graph_of("notebooks")), [])] == ["standard"]


def test_notebooks_without_teams_are_in_the_namespace_of_the_hub() -> None:
    assert settings_of(graph_of("notebooks"))["spaces"] == {"": HUB}


def test_door_sends_the_key_to_the_hub_and_not_to_servers() -> None:
    rendered, _ = run(lambda: door({}, notebooks=text("hub-key")))
    routes = plain(rendered.of("ConfigMap")["door"])["data"]["routes.conf"]
    locations = {each.split(" ")[0]: each for each in routes.split("location ")}
    assert "X-Door-Key $notebooks_key" in locations["/notebooks/hub/"]
    assert "X-Door" not in locations["/notebooks/user/"]
    assert 'set $notebooks_key "hub-key";' in plain(rendered.of("Secret")["door"])["stringData"]["keys.conf"]
    assert HUB in json.dumps(plain(rendered.of("NetworkPolicy")["door"])["spec"]["egress"])
