"""Settings of teams: owners, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlplatform.team_rights import owned_by_teams

from settings.errors import SettingsError
from settings.loading import load_settings

HASH = "$2b$12$" + "a" * 53
PERSONS = {"anna": {"role": "administrator", "password_hash": HASH}, "sam": {"password_hash": HASH}}
SHOP = {"people": ["sam"], "pipelines": ["iris-external", "batch-predict"], "models": ["rose"]}
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
        {"shop": {**SHOP, "quota": {"cpu": 4, "memory_gb": 8, "storage_gb": 20}}},
        {"platform:notebooks": '{"sizes": {"small": {"cpu": 1}, "huge": {"cpu": 64}}}'},
        ["platform:notebooks.sizes.huge: 64 CPUs", "beyond workloads:teams.shop.quota, 4 CPUs"],
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
