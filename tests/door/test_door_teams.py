"""The door with two teams: what a person of one team tries on the things of the other, and what is shared."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow.exceptions import MlflowException
from mlplatform.door.door_routes import served_models
from mlplatform.mlflow_server.users import set_up_person
from mlplatform.team_rights import owned_by_teams
from mlplatform.tracking_access import TrackingAccess
from playwright.sync_api import Browser, expect

from settings.services.door_settings import DoorSettings
from settings.stack import StackSettings
from settings.workloads import WorkloadsSettings
from tests.mlflow_servers import mlflow_server
from tests.pipelines.training.test_model import METRICS, train_iris
from workloads.ml import model_registry
from workloads.ml.errors import StepError
from workloads.ml.rest_client import MlflowRest
from workloads.ml.tracking import client, find_or_create_run
from workloads.mlflow_session import mlflow_session

from .processes import HOST, KEY, DoorProcesses, expires, running_door
from .test_start_page import opened, sign_in

WORKLOADS = WorkloadsSettings.model_validate(
    {
        "pipelines": {
            "flowers": {"model": "iris", "serve": True, "gate": 0.5},
            "hidden": {"model": "secret", "serve": True, "port": 5006, "visibility": "private"},
            "open": {"model": "rose", "serve": True, "port": 5007, "visibility": "public"},
            "cellar": {"model": "wine", "serve": True, "port": 5008},
            "common": {"model": "plain", "serve": True, "port": 5009},
        },
        "teams": {
            "shop": {"people": ["sam", "rae"], "pipelines": ["flowers", "hidden", "open"]},
            "science": {"people": ["tess"], "pipelines": ["cellar"]},
        },
    }
)
MODELS = served_models(StackSettings.model_construct(workloads=WORKLOADS))
API = "/mlflow/api/2.0/mlflow/"
Answer = requests.Response


@dataclass(frozen=True)
class Caller:
    """A person who has signed in at the door."""

    url: str
    session: requests.Session

    def get(self, path: str, /, **query: Any) -> Answer:
        return self.session.get(f"{self.url}/{path.lstrip('/')}", params=query, timeout=30)

    def post(self, path: str, method: str = "POST", /, **content: Any) -> Answer:
        headers = {"Origin": self.url, "Accept": "application/json"}
        return self.session.request(method, f"{self.url}{path}", json=content, headers=headers, timeout=30)

    def experiment(self, name: str) -> str:
        answer = self.get(f"{API}experiments/get-by-name", experiment_name=name)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["experiment"]["experiment_id"])

    def finds(self, name: str) -> bool:
        """Return True if a search of experiments or models has the name."""
        experiments = self.post(f"{API}experiments/search", max_results=100).json()
        models = self.get(f"{API}registered-models/search").json()
        return f'"{name}"' in str([experiments, models]).replace("'", '"')


@dataclass(frozen=True)
class Shop:
    """Things of the team `shop` in MLflow: an experiment, a run with a file, and a version of the model `iris`."""

    experiment: str
    run: str


@pytest.fixture(scope="module")
def team_mlflow(folder: Path) -> Iterator[str]:
    data = folder / "team-mlflow"
    data.mkdir(mode=0o700)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_DOOR_KEY", KEY)
        passwords = {"writer": "password1234", "reader": "password1234"}
        teams = {name: {**owned, "passwords": passwords} for name, owned in owned_by_teams(WORKLOADS).items()}
        teams["*"]["passwords"] = {}
        with mlflow_server(data, "password1234", users=True, teams=teams) as url:
            yield url


@pytest.fixture(scope="module")
def team_door(folder: Path, team_mlflow: str) -> Iterator[DoorProcesses]:
    files = folder / "team-door"
    files.mkdir()
    with running_door(files, DoorSettings(host=HOST), team_mlflow, MODELS, WORKLOADS.teams) as running:
        yield running


@pytest.fixture(scope="module")
def person(team_door: DoorProcesses) -> Callable[[str], Caller]:
    sessions: dict[str, Caller] = {}

    def signed_in(name: str) -> Caller:
        if name not in sessions:
            sessions[name] = Caller(team_door.url, team_door.signed_in(name))
        return sessions[name]

    return signed_in


@pytest.fixture(scope="module")
def shop(person: Callable[[str], Caller]) -> Shop:
    sam = person("sam")
    experiment = sam.experiment("flowers")
    created = sam.post(f"{API}runs/create", experiment_id=experiment)
    assert created.status_code == 200, created.text
    run = created.json()["run"]["info"]
    assert sam.post(f"{API}runs/log-metric", run_id=run["run_id"], key="accuracy", value=1, timestamp=1).ok
    uploaded = sam.session.put(f"{sam.url}{FILES}{experiment}/{run['run_id']}/artifacts/a.txt", data=b"shop only")
    assert uploaded.status_code == 200, uploaded.text
    version = sam.post(f"{API}model-versions/create", name="iris", source=run["artifact_uri"], run_id=run["run_id"])
    assert version.status_code == 200, version.text
    assert sam.post(f"{API}registered-models/alias", name="iris", alias="champion", version="1").ok
    return Shop(experiment, run["run_id"])


def run_of(person: Caller) -> str:
    """Return the id of a new run in the experiment of the team `science`, whose files the person may register."""
    created = person.post(f"{API}runs/create", experiment_id=person.experiment("cellar"))
    assert created.status_code == 200, created.text
    return str(created.json()["run"]["info"]["run_id"])


FILES = "/mlflow/api/2.0/mlflow-artifacts/artifacts/"
RIGHTS = "/mlflow/api/3.0/mlflow/"
PERMISSION = {"username": "tess", "permission": "MANAGE"}
ATTEMPTS: dict[str, Callable[[Caller, Shop], Answer]] = {
    "open the page of a model": lambda who, _: who.get("/models/iris/"),
    "predict with a model": lambda who, _: who.post("/models/iris/score"),
    "predict with a private model": lambda who, _: who.post("/models/secret/score"),
    "predict by a detour": lambda who, _: who.post("/models/wine/..%2Firis/score"),
    "read metrics of all models": lambda who, _: who.get("/monitoring/api/v1/query"),
    "read an experiment": lambda who, its: who.get(f"{API}experiments/get", experiment_id=its.experiment),
    "read an experiment by name": lambda who, _: who.get(f"{API}experiments/get-by-name", experiment_name="flowers"),
    "read a run": lambda who, its: who.get(f"{API}runs/get", run_id=its.run),
    "read a metric": lambda who, its: who.get(f"{API}metrics/get-history", run_id=its.run, metric_key="accuracy"),
    "list files": lambda who, its: who.get(f"{API}artifacts/list", run_id=its.run),
    "download a file": lambda who, its: who.get(f"{FILES}{its.experiment}/{its.run}/artifacts/a.txt"),
    "download a file as the pages do": lambda who, its: who.get("/mlflow/get-artifact", path="a.txt", run_id=its.run),
    "overwrite a file": lambda who, its: who.post(f"{FILES}{its.experiment}/{its.run}/artifacts/a.txt", "PUT"),
    "read a model": lambda who, _: who.get(f"{API}registered-models/get", name="iris"),
    "read the champion": lambda who, _: who.get(f"{API}registered-models/alias", name="iris", alias="champion"),
    "read a version": lambda who, _: who.get(f"{API}model-versions/get", name="iris", version="1"),
    "get the address of a version": lambda who, _: who.get(
        f"{API}model-versions/get-download-uri", name="iris", version="1"
    ),
    "start a run": lambda who, its: who.post(f"{API}runs/create", experiment_id=its.experiment),
    "log a metric": lambda who, its: who.post(f"{API}runs/log-metric", run_id=its.run, key="m", value=1, timestamp=1),
    "tag a run": lambda who, its: who.post(f"{API}runs/set-tag", run_id=its.run, key="k", value="v"),
    "delete a run": lambda who, its: who.post(f"{API}runs/delete", run_id=its.run),
    "rename an experiment": lambda who, its: who.post(
        f"{API}experiments/update", experiment_id=its.experiment, new_name="mine"
    ),
    "register a version": lambda who, _: who.post(
        f"{API}model-versions/create", name="iris", source=f"runs:/{(run := run_of(who))}/model", run_id=run
    ),
    "copy a version": lambda who, _: who.post(f"{API}model-versions/create", name="wine", source="models:/iris/1"),
    "register a version of a foreign run": lambda who, its: who.post(
        f"{API}model-versions/create", name="wine", source=f"runs:/{its.run}/model", run_id=its.run
    ),
    "register a version of files in the object store": lambda who, its: who.post(
        f"{API}model-versions/create", name="wine", source=f"s3://bucket/{its.experiment}/{its.run}/artifacts"
    ),
    "move the champion": lambda who, _: who.post(
        f"{API}registered-models/alias", name="iris", alias="champion", version="1"
    ),
    "delete the champion": lambda who, _: who.post(
        f"{API}registered-models/alias", "DELETE", name="iris", alias="champion"
    ),
    "rename a model": lambda who, _: who.post(f"{API}registered-models/rename", name="iris", new_name="mine"),
    "delete a model": lambda who, _: who.post(f"{API}registered-models/delete", "DELETE", name="iris"),
    "grant herself an experiment": lambda who, its: who.post(
        f"{RIGHTS}users/permissions/grant", resource_type="experiment", resource_id=its.experiment, **PERMISSION
    ),
    "grant herself a model": lambda who, _: who.post(
        f"{RIGHTS}users/permissions/grant", resource_type="registered_model", resource_id="iris", **PERMISSION
    ),
    "take the role of a team": lambda who, _: who.post(f"{RIGHTS}roles/assign", username="tess", role_id=1),
    "add a permission to a role": lambda who, its: who.post(
        f"{RIGHTS}roles/permissions/add",
        role_id=1,
        resource_type="experiment",
        resource_pattern=its.experiment,
        permission="MANAGE",
    ),
    "become an administrator": lambda who, _: who.post(
        f"{API}users/update-admin", "PATCH", username="tess", is_admin=True
    ),
    "create a user": lambda who, _: who.post(f"{API}users/create", username="tom", password="password1234"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_person_of_another_team_is_refused(person: Callable[[str], Caller], shop: Shop, attempt: str) -> None:
    answer = ATTEMPTS[attempt](person("tess"), shop)
    assert answer.status_code in (403, 404), answer.text


def test_searches_and_pages_leave_out_other_teams(person: Callable[[str], Caller], shop: Shop) -> None:
    sam, tess = person("sam"), person("tess")
    for name, seen_by_tess in {"flowers": False, "iris": False, "cellar": True, "wine": True, "common": True}.items():
        assert tess.finds(name) == seen_by_tess, name
    assert sam.finds("flowers")
    assert not sam.finds("wine")
    found = {who: who.post(f"{API}runs/search", experiment_ids=[shop.experiment]).json() for who in (sam, tess)}
    assert [run["info"]["run_id"] for run in found[sam]["runs"]] == [shop.run]
    assert not found[tess].get("runs")
    query = {"query": f'{{mlflowGetRun(input: {{runId: "{shop.run}"}}) {{run {{info {{runId}}}}}}}}'}
    assert shop.run in sam.post("/mlflow/graphql", **query).text
    assert '"runId"' not in tess.post("/mlflow/graphql", **query).text
    pages = {name: person(name).get("/").text for name in ("sam", "tess", "ed", "anna")}
    assert {name: "/models/iris/" in page for name, page in pages.items()} == {
        "sam": True,
        "tess": False,
        "ed": False,
        "anna": True,
    }
    assert all("/models/rose/" in page and "/models/plain/" in page for page in pages.values())
    assert "Your teams: shop. You may see what they own and what is shared, and change what they own." in pages["sam"]
    assert "flowers" not in pages["tess"]
    assert 'href="/monitoring/"' not in pages["tess"]


def test_pages_of_mlflow_list_what_the_person_may_see(browser: Browser, team_door: DoorProcesses) -> None:
    with opened(browser) as page:
        sign_in(page, team_door, "tess", "/mlflow/#/experiments?workflowType=machine_learning")
        expect(page.get_by_role("link", name="cellar")).to_be_visible()
        expect(page.get_by_role("link", name="flowers")).to_have_count(0)


def test_team_uses_its_models_and_roles_hold_in_it(person: Callable[[str], Caller], shop: Shop) -> None:
    assert person("sam").post("/models/iris/score").status_code == 200
    assert person("sam").post("/models/secret/score").status_code == 403
    assert person("anna").post("/models/secret/score").status_code == 200
    assert person("tess").post("/models/rose/score").status_code == 200
    rae = person("rae")
    assert rae.get(f"{API}runs/get", run_id=shop.run).status_code == 200
    assert rae.post(f"{API}runs/create", experiment_id=shop.experiment).status_code == 403


def test_shared_pipelines_are_read_by_all_and_changed_by_persons_without_a_team(
    person: Callable[[str], Caller],
) -> None:
    experiment = person("ed").experiment("common")
    statuses = {
        name: person(name).post(f"{API}runs/create", experiment_id=experiment).status_code
        for name in ("ed", "sam", "rob", "anna")
    }
    assert statuses == {"ed": 200, "sam": 403, "rob": 403, "anna": 200}
    assert person("tess").post("/models/plain/score").status_code == 200
    assert person("tess").post(f"{API}runs/search", experiment_ids=[experiment]).json()["runs"]


def test_token_of_a_team_reaches_the_runs_of_this_team(team_door: DoorProcesses, shop: Shop) -> None:
    tokens = {f"mlp_{letter * 43}": team for letter, team in {"a": "shop", "b": "science", "c": "a note"}.items()}
    grants = {
        text: {"id": team[:4], "team": team, "for": {"mlflow": True}, "role": "reader", "expires": expires()}
        for text, team in tokens.items()
    }
    team_door.serve_tokens(grants)
    statuses = {
        team: requests.get(
            f"{team_door.url}{API}runs/get",
            params={"run_id": shop.run},
            headers={"Authorization": f"Bearer {text}"},
            verify=str(team_door.ca),
            timeout=30,
        ).status_code
        for text, team in tokens.items()
    }
    assert statuses == {"shop": 200, "science": 403, "a note": 403}


def test_token_opens_models_that_its_team_may_use_now(team_door: DoorProcesses) -> None:
    """A model may have moved to another team after the token was made, and its team may be gone."""
    grant = {"for": {"mlflow": True, **{f"model:{name}": True for name in MODELS}}, "role": "editor"}
    tokens = {f"mlp_{letter * 43}": team for letter, team in {"s": "shop", "t": "science", "g": "gone"}.items()}
    end = expires()
    team_door.serve_tokens(
        {text: {**grant, "id": team[:4], "team": team, "expires": end} for text, team in tokens.items()}
    )

    def statuses(text: str) -> dict[str, int]:
        with team_door.session() as program:
            program.headers.update({"Authorization": f"Bearer {text}", "Accept": "application/json"})
            found = {name: program.post(f"{team_door.url}/models/{name}/score", json={}) for name in MODELS}
            found["mlflow"] = program.get(f"{team_door.url}{API}experiments/search", params={"max_results": 1})
        return {name: answer.status_code for name, answer in found.items()}

    assert {team: statuses(text) for text, team in tokens.items()} == {
        "shop": {"iris": 200, "secret": 200, "rose": 200, "wine": 403, "plain": 200, "mlflow": 200},
        "science": {"iris": 403, "secret": 403, "rose": 200, "wine": 200, "plain": 200, "mlflow": 200},
        "gone": {"iris": 403, "secret": 403, "rose": 200, "wine": 403, "plain": 403, "mlflow": 403},
    }


def test_programs_of_a_team_record_register_and_read_what_it_owns(
    team_mlflow: str, person: Callable[[str], Caller], tmp_path: Path
) -> None:
    def access(user: str) -> TrackingAccess[str]:
        return TrackingAccess(team_mlflow, user, "password1234")

    with mlflow_session(access("writer.shop")) as url:
        version = model_registry.register(url, train_iris(tmp_path, name="iris"), "iris", METRICS, "flowers", "run-1")
    with mlflow_session(access("reader.shop")) as url:
        assert model_registry.fetch(url, "iris", version).signature["target"] == "Species"
    assert MlflowRest(team_mlflow, ("reader.shop", "password1234")).champion("iris")
    assert person("sam").get(f"{API}model-versions/get", name="iris", version=version).status_code == 200
    for user in ("writer.science", "reader.science", "writer"):
        with mlflow_session(access(user)) as url, pytest.raises(StepError, match="cannot be read"):
            model_registry.fetch(url, "iris", version)
    with mlflow_session(access("writer.science")) as url, pytest.raises(MlflowException, match=r"403|[Pp]ermission"):
        find_or_create_run(client(url), "flowers", "run-1")
    with mlflow_session(access("reader.shop")) as url, pytest.raises(MlflowException, match=r"403|[Pp]ermission"):
        client(url).set_registered_model_alias("iris", "champion", version)
    assert not set_up_person(None, "writer.shop", "administrator", [])


def status_of_run(team_mlflow: str, run: str, person: str, teams: str) -> int:
    """Return the status of MLflow's response to an editor of these teams who reads a run."""
    headers = {"X-Door-User": person, "X-Door-Role": "editor", "X-Door-Key": KEY}
    headers |= {"X-Door-Teams": teams} if teams else {}
    url = f"{team_mlflow}{API.removeprefix('/mlflow')}runs/get"
    return requests.get(url, params={"run_id": run}, headers=headers, timeout=30).status_code


def test_person_who_leaves_a_team_loses_its_rights(team_mlflow: str, shop: Shop) -> None:
    tried = [status_of_run(team_mlflow, shop.run, "lea", teams) for teams in ("*,shop", "*", "*,shop,science", "")]
    assert tried == [200, 403, 200, 403]


def test_person_whose_rights_cannot_be_removed_is_refused(folder: Path, team_mlflow: str, shop: Shop) -> None:
    assert status_of_run(team_mlflow, shop.run, "leo", "*,shop") == 200
    with closing(sqlite3.connect(folder / "team-mlflow/basic_auth.db", timeout=30)) as users:
        users.execute(
            "CREATE TRIGGER full BEFORE DELETE ON user_role_assignments BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
        )
        assert [status_of_run(team_mlflow, shop.run, "leo", "*,science") for _ in range(2)] == [400, 400]
        users.execute("DROP TRIGGER full")
    assert status_of_run(team_mlflow, shop.run, "leo", "*,science") == 403
    assert status_of_run(team_mlflow, shop.run, "leo", "*,shop") == 200


def test_first_requests_of_a_person_at_once_are_all_answered(team_mlflow: str, shop: Shop) -> None:
    with ThreadPoolExecutor(16) as pool:
        for person in ("kim", "kay", "kit"):
            tried = pool.map(lambda _, name=person: status_of_run(team_mlflow, shop.run, name, "*,shop"), range(16))
            assert set(tried) == {200}
