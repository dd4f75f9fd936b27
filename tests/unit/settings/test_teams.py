"""Settings of teams: owners, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlplatform.door.door_routes import _members
from mlplatform.team_rights import owned_by_teams

from settings.errors import SettingsError
from settings.loading import load_settings

HASH = "$2b$12$" + "a" * 53
PERSONS = {"anna": {"role": "administrator", "password_hash": HASH}, "sam": {"password_hash": HASH}}
DATA: dict[str, Any] = {"blobs": {"container": "shop-data", "upload": {"iris.csv": "workloads/data/iris.csv"}}}
SHOP: dict[str, Any] = {"people": ["sam"], "pipelines": ["iris-external", "batch-predict"], "models": ["rose"]}
OVERRIDES = {
    "platform:door": json.dumps({"host": "10.20.0.219", "users": PERSONS}),
    "platform:tracking": '{"service": "ClusterIP"}',
    "platform:monitoring": '{"service": "ClusterIP"}',
    "serving:service": "ClusterIP",
}


def overrides(teams: dict[str, Any], **more: str) -> dict[str, str]:
    return OVERRIDES | {"workloads:teams": json.dumps(teams)} | more


def test_team_owns_its_pipelines_and_the_models_that_they_train() -> None:
    workloads = load_settings("lab", overrides({"shop": SHOP})).workloads
    assert workloads.pipeline_teams == {"iris-external": "shop", "batch-predict": "shop"}
    assert workloads.model_teams == {"iris": "shop", "rose": "shop"}
    assert owned_by_teams(workloads) == {
        "*": {"experiments": ["iris-local"], "models": {"iris-local": False}},
        "shop": {"experiments": ["iris-external", "batch-predict"], "models": {"iris": True, "rose": True}},
    }


def test_persons_of_a_team_are_in_lower_case() -> None:
    provider = {"issuer": "https://id.example.com", "client": "c", "client_secret": "s", "groups": {"g": "editor"}}
    door = json.dumps({"host": "10.20.0.219", "oidc": provider})
    shop = SHOP | {"people": ["Anna.Smith@Example.com", "anna.smith@example.com"]}
    teams = load_settings("lab", overrides({"shop": shop}, **{"platform:door": door})).workloads.teams
    assert set(teams["shop"].people) == {"anna.smith@example.com"}
    assert _members(teams)["people"] == {"anna.smith@example.com": "shop"}
    load_settings("lab", overrides({"shop": SHOP | {"people": ["Sam"]}}))


def test_team_may_have_a_container_beside_the_shared_one() -> None:
    parameters = {"iris-external": {"parameters": {"blob": "iris.csv", "container": "shop-data"}}}
    shared = {"iris-local": {"parameters": {"container": "shop-data", "account_url": "https://other.example"}}}
    given = overrides({"shop": SHOP | DATA}, **{"workloads:pipelines": json.dumps(parameters | shared)})
    blobs = load_settings("lab", given).workloads.teams["shop"].blobs
    assert blobs
    assert (blobs.container, blobs.upload) == ("shop-data", {"iris.csv": "workloads/data/iris.csv"})


@pytest.mark.parametrize("name", ["ab", "a--b", "-ab", "ab-", "Shop", "shop_data", "shop.data", "a" * 64, "", "ab1\n"])
def test_load_with_a_container_that_azure_refuses_says_what_is_allowed(name: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings("lab", overrides({"shop": SHOP | {"blobs": {"container": name}}}))
    assert "workloads:teams.shop.blobs.container: the name of a container has 3 to 63 lowercase" in str(error.value)
    assert f"(found: {name!r})" in str(error.value)


@pytest.mark.parametrize("name", ["abc", "1-2-3", "a" * 63])
def test_load_with_a_container_that_azure_accepts(name: str) -> None:
    assert load_settings("lab", overrides({"shop": SHOP | {"blobs": {"container": name}}}))


WRONG: list[tuple[dict[str, Any], dict[str, str], list[str]]] = [
    ({"shop": {"pipelines": ["iris-local"]}}, {}, ["teams.shop", "a team without persons"]),
    (
        {"shop": {"people": ["sam"], "pipelines": ["iris"]}},
        {},
        ["teams.shop.pipelines", "no pipeline iris", "iris-local"],
    ),
    ({"shop": SHOP, "lab": {"people": ["sam"], "pipelines": ["iris-external"]}}, {}, ["teams.lab.pipelines", "shop"]),
    ({"shop": SHOP, "lab": {"people": ["sam"], "models": ["iris"]}}, {}, ["teams.lab.models", "iris", "shop"]),
    ({"shop": {"people": ["sam"], "pipelines": ["iris-external"]}}, {}, ["batch-predict.uses_model", "team shop"]),
    ({"shop": {**SHOP, "people": ["tom"]}}, {}, ["teams.shop.people", "has no tom", "make user"]),
    ({"shop": {**SHOP, "groups": ["staff"]}}, {}, ["teams.shop.groups", "platform:door.oidc"]),
    ({"shop": {**SHOP, "groups": ["a,b"]}}, {}, ["teams.shop", "has no comma", "a,b"]),
    ({"shop": SHOP}, {"platform:pipelines": "kubeflow"}, ["workloads:teams", "Kubeflow Pipelines cannot separate"]),
    (
        {"shop": SHOP},
        {"platform:network": "flannel"},
        ["workloads:teams: platform:network: flannel enforces no NetworkPolicy", "set platform:network: weave"],
    ),
    (
        {"shop": {**SHOP, "quota": {"cpu": 4, "memory_gb": 8, "storage_gb": 20}}},
        {"platform:notebooks": '{"sizes": {"small": {"cpu": 1}, "huge": {"cpu": 64}}}'},
        ["platform:notebooks.sizes.huge: 64 CPUs", "beyond workloads:teams.shop.quota, 4 CPUs"],
    ),
    (
        {"shop": SHOP | {"blobs": {"container": "datasets"}}},
        {},
        ["teams.shop.blobs.container: datasets is platform:blobs.container, which all teams read"],
    ),
    (
        {"shop": SHOP | DATA, "lab": {"people": ["sam"], **DATA}},
        {},
        ["teams.lab.blobs.container: shop-data belongs to the team shop already"],
    ),
    (
        {"shop": SHOP | {"blobs": {"container": "shop-data", "upload": {"a.csv": "no/such.csv"}}}},
        {},
        ["teams.shop.blobs.upload: a.csv: there is no file no/such.csv in the project"],
    ),
    ({"shop": SHOP | {"blobs": {}}}, {}, ["teams.shop.blobs.container: Field required"]),
    (
        {"shop": SHOP | DATA},
        {"workloads:pipelines": '{"iris-local": {"parameters": {"container": "shop-data"}}}'},
        ["pipelines.iris-local.parameters.container: shop-data belongs to the team shop; add the pipeline to this"],
    ),
]


@pytest.mark.parametrize(("teams", "more", "expected"), WRONG)
def test_load_with_wrong_teams_names_the_setting(
    teams: dict[str, Any], more: dict[str, str], expected: list[str]
) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings("lab", overrides(teams, **more))
    assert all(part in str(error.value) for part in expected), str(error.value)
    assert str(error.value).count("workloads:") <= 2


def test_load_with_teams_without_a_door_says_that_only_a_door_knows_persons() -> None:
    with pytest.raises(SettingsError, match="workloads:teams: only a door knows persons"):
        load_settings("lab", {"workloads:teams": json.dumps({"shop": SHOP})})


def test_load_with_a_container_of_a_team_needs_the_account_of_the_stack() -> None:
    without_file = {
        "infra:machines": "azure",
        "infra:cluster": "kubeadm",
        "infra:azure": '{"operator": "192.0.2.0/24"}',
        "platform:pipelines": "job",
        "platform:load_balancer": '{"addresses": "10.20.0.200-10.20.0.219"}',
        "workloads:pipelines": '{"iris-external": {}, "batch-predict": {}}',
    }
    given = overrides({"shop": SHOP | DATA}, **without_file)
    with pytest.raises(SettingsError, match=r"teams\.shop\.blobs: .* set platform:blobs, or remove blobs"):
        load_settings("new", given)
    storage = '{"operator": "192.0.2.0/24", "storage": "shop-data"}'
    with pytest.raises(SettingsError, match=r"blobs\.container: shop-data is infra:azure\.storage, which all"):
        load_settings("new", given | {"infra:azure": storage})
    assert load_settings("new", given | {"infra:azure": storage.replace("shop-data", "datasets")})
