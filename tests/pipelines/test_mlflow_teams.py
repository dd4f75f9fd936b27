"""Teams of an MLflow server that change: rights of creators and of earlier owners on what a team owns now."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
from mlplatform.mlflow_server.teams import TEAMS_FILE, set_up_teams
from mlplatform.mlflow_server.users import ADMINISTRATOR, READER, WRITER, set_up_person, set_up_users

from tests.mlflow_servers import mlflow_server

from .conftest import USERS_PASSWORD as PASSWORD

KEY = "door-key"
API = "/api/2.0/mlflow/"
CREATORS = {"sales": "writer", "churn": "writer.science", "forecast": "tess", "wine": "writer.shop"}
"""User that creates the experiment and the model of a name, before a team owns them."""
EARLIER = {"shop": ["flowers"], "science": ["cellar"]}
LATER = {"shop": ["sales", "churn", "forecast"], "science": ["cellar", "wine", "flowers"]}
EXPERIMENT, MODEL = ("experiment", "1"), ("registered_model", "churn")


def teams(names: dict[str, list[str]]) -> dict[str, Any]:
    """Return the content of teams.json; a name is that of an experiment and of a served model."""
    passwords = {WRITER: PASSWORD, READER: PASSWORD}
    shared: dict[str, Any] = {"*": {"experiments": [], "models": {}, "passwords": {}}}
    return shared | {
        team: {"experiments": owned, "models": dict.fromkeys(owned, True), "passwords": passwords}
        for team, owned in names.items()
    }


@dataclass(frozen=True)
class Caller:
    """A program with its password, or a person of `science` at the door."""

    url: str
    user: str

    def __call__(self, method: str, path: str, /, **content: Any) -> requests.Response:
        door = {"X-Door-User": self.user, "X-Door-Role": "editor", "X-Door-Teams": "*,science", "X-Door-Key": KEY}
        send = partial(requests.request, method, f"{self.url}{API}{path}", timeout=60)
        identity = {"auth": (self.user, PASSWORD)} if self.user.startswith(WRITER) else {"headers": door}
        return send(**identity, **{"params" if method == "GET" else "json": content})

    def create(self, name: str) -> str:
        """Create an experiment and a model; return the id of the experiment."""
        model = self("POST", "registered-models/create", name=name)
        experiment = self("POST", "experiments/create", name=name)
        assert (model.status_code, experiment.status_code) == (200, 200), (model.text, experiment.text)
        return str(experiment.json()["experiment_id"])

    def statuses(self, name: str, experiment: str) -> frozenset[int]:
        """Return the statuses of requests that read and change an experiment and a model."""
        answers = (
            self("GET", "experiments/get", experiment_id=experiment),
            self("POST", "runs/create", experiment_id=experiment),
            self("GET", "registered-models/get", name=name),
            self("PATCH", "registered-models/update", name=name, description="mine"),
        )
        return frozenset(answer.status_code for answer in answers)


def test_creators_and_earlier_owners_have_no_right_on_what_a_team_owns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DOOR_KEY", KEY)
    run = partial(mlflow_server, tmp_path, PASSWORD, users=True)
    with run(teams=teams(EARLIER)) as url:
        experiments = {name: Caller(url, creator).create(name) for name, creator in CREATORS.items()}
        found = Caller(url, "writer.shop")("GET", "experiments/get-by-name", experiment_name="flowers")
        experiments["flowers"] = found.json()["experiment"]["experiment_id"]
        statuses = {name: Caller(url, user).statuses(name, experiments[name]) for name, user in CREATORS.items()}
        assert statuses == dict.fromkeys(CREATORS, frozenset({200}))
    with run(teams=teams(LATER)) as url:
        earlier = CREATORS | {"flowers": "writer.shop"}
        statuses = {name: Caller(url, user).statuses(name, experiments[name]) for name, user in earlier.items()}
        assert statuses == dict.fromkeys(earlier, frozenset({403}))
        owners = {name: f"writer.{team}" for team, names in LATER.items() for name in names if name in experiments}
        statuses = {name: Caller(url, user).statuses(name, experiments[name]) for name, user in owners.items()}
        assert statuses == dict.fromkeys(owners, frozenset({200}))


def test_name_of_a_model_that_is_not_registered_yet_is_kept_for_its_team(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_DOOR_KEY", KEY)
    owned = teams({"shop": ["flowers"], "science": ["cellar"]})
    owned["shop"]["models"] |= {"planned": False, "later": False}
    owned["*"]["models"] = {"common": False}
    with mlflow_server(tmp_path, PASSWORD, users=True, teams=owned) as url:
        shop, science, tess, shared = (Caller(url, user) for user in ("writer.shop", "writer.science", "tess", WRITER))

        def create(caller: Caller, name: str) -> int:
            return caller("POST", "registered-models/create", name=name).status_code

        assert [create(caller, "planned") for caller in (science, tess, shared, shop)] == [403, 403, 403, 200]
        assert [create(caller, "common") for caller in (science, tess, shop, shared)] == [403, 403, 403, 200]
        assert create(science, "draft") == 200
        renamed = science("POST", "registered-models/rename", name="draft", new_name="later")
        assert renamed.status_code == 403
        forged = requests.post(
            f"{url}{API}registered-models/create",
            json={"name": "later"},
            auth=("writer.science", PASSWORD),
            headers={"X-Door-Teams": "shop"},
            timeout=60,
        )
        assert forged.status_code == 403


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return MLflow's store of users, in which the person `ed` was an editor before there were teams."""
    database = f"sqlite:///{tmp_path}/users.db"
    passwords = dict.fromkeys((ADMINISTRATOR, WRITER, READER), PASSWORD)
    users = set_up_users(database, passwords)
    assert set_up_person(users, "ed", "editor", [])
    monkeypatch.setenv(TEAMS_FILE, str(tmp_path / "teams.json"))
    return users


def set_up(folder: Path, store: Any, names: dict[str, list[str]]) -> None:
    """Set up users and teams as the start of a server does."""
    file = folder / "teams.json"
    file.write_text(json.dumps(teams(names)))
    set_up_users(f"sqlite:///{folder}/users.db", dict.fromkeys((ADMINISTRATOR, WRITER, READER), PASSWORD))
    set_up_teams(store, file, f"sqlite:///{folder}/mlflow.db")


def grants(store: Any, user: str) -> set[tuple[str, str, str]]:
    """Return kind, name and permission of what a user has without a role of a team."""
    roles = store.list_user_roles(store.get_user(user).id)
    return {
        (each.resource_type, each.resource_pattern, each.permission)
        for role in roles
        if not role.name.startswith("team:")
        for each in role.permissions
    }


def test_start_removes_rights_of_persons_from_the_time_before_teams(tmp_path: Path, store: Any) -> None:
    assert grants(store, "ed") == {("experiment", "*", "EDIT"), ("registered_model", "*", "EDIT")}
    set_up(tmp_path, store, {"shop": ["churn"]})
    assert grants(store, "ed") == set()
    assert grants(store, READER) == {("experiment", "*", "READ"), ("registered_model", "*", "READ")}


def test_start_leaves_roles_of_administrators_and_denials_and_what_no_team_owns(tmp_path: Path, store: Any) -> None:
    kept = {("experiment", "7", "MANAGE"), ("scorer", "7/tone", "MANAGE"), (*MODEL, "DENY")}
    removed = {(*EXPERIMENT, "MANAGE"), ("scorer", "1/tone", "MANAGE"), ("prompt", "churn", "MANAGE")}
    for kind, name, permission in kept | removed:
        store.grant_user_permission("ed", kind, name, permission)
    auditors = store.create_role("auditors", "default")
    store.add_role_permission(auditors.id, *MODEL, "READ")
    store.assign_role_to_user(store.get_user("ed").id, auditors.id)
    set_up(tmp_path, store, {"shop": ["churn"]})
    assert grants(store, "ed") == kept | {(*MODEL, "READ")}
