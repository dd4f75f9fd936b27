"""Users of MLflow: what the reader of model servers, the writer of steps and the administrator may do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlplatform.mlflow_server.users import ADMINISTRATOR, READER, WRITER
from mlplatform.tracking_access import TrackingAccess

from tests.pipelines.training.test_model import METRICS, train_iris
from workloads.ml import model_registry
from workloads.ml.rest_client import MlflowRest
from workloads.ml.tracking import client, find_or_create_run
from workloads.mlflow_session import mlflow_session

from .conftest import USERS_PASSWORD as PASSWORD

MODEL = "readable"
API = "/api/2.0/mlflow"


@pytest.fixture(scope="module")
def url(protected_mlflow: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the address of a server with one version, which the writer registered as a step does."""
    with mlflow_session(TrackingAccess(protected_mlflow, WRITER, PASSWORD)):
        folder = train_iris(tmp_path_factory.mktemp("model"))
        assert model_registry.register(protected_mlflow, folder, MODEL, METRICS, "train", "train-1") == "1"
    return protected_mlflow


@pytest.fixture
def session(url: str) -> Iterator[Callable[[str], requests.Session]]:
    """Yield a function that returns an HTTP session of a user."""
    with requests.Session() as shared:

        def login(user: str) -> requests.Session:
            shared.auth = (user, PASSWORD)
            return shared

        yield login


def refused(call: Callable[[], object]) -> bool:
    """Return True if the server answers 403. MLflow's client raises another error for files."""
    try:
        call()
    except (MlflowException, requests.HTTPError) as error:
        return "403" in str(error)
    return False


def test_reader_gets_version_alias_and_files(url: str) -> None:
    with mlflow_session(TrackingAccess(url, READER, PASSWORD)):
        reader = client(url)
        assert reader.get_model_version_by_alias(MODEL, "champion").version == "1"
        assert model_registry.fetch(url, MODEL, "1").signature["target"] == "Species"
        (experiment,) = reader.search_experiments(filter_string="name = 'train'")
        assert len(reader.search_runs([experiment.experiment_id])) == 1


def test_session_at_another_address_uploads_files_of_the_same_run(url: str) -> None:
    """A port-forward gives each session another port; MLflow's client keeps the address of a run's files."""
    other = url.replace("127.0.0.1", "localhost")
    with mlflow_session(TrackingAccess(url, WRITER, PASSWORD)):
        run = find_or_create_run(client(url), "moved", "moved-1").info.run_id
        client(url).log_text(run, "first", "first.txt")
    with mlflow_session(TrackingAccess(other, WRITER, PASSWORD)):
        client(other).log_text(run, "second", "second.txt")
        assert [file.path for file in client(other).list_artifacts(run)] == ["first.txt", "second.txt"]


CHANGES: dict[str, Callable[[MlflowClient, str], object]] = {
    "create an experiment": lambda mlflow, _: mlflow.create_experiment("new"),
    "create a model": lambda mlflow, _: mlflow.create_registered_model("new"),
    "create a run": lambda mlflow, run: mlflow.create_run(mlflow.get_run(run).info.experiment_id),
    "log a metric": lambda mlflow, run: mlflow.log_metric(run, "accuracy", 1),
    "upload a file": lambda mlflow, run: mlflow.log_text(run, "text", "model/model.onnx"),
    "create a version": lambda mlflow, run: mlflow.create_model_version(MODEL, f"runs:/{run}/model", run),
    "move the alias": lambda mlflow, _: mlflow.set_registered_model_alias(MODEL, "champion", "1"),
    "delete the alias": lambda mlflow, _: mlflow.delete_registered_model_alias(MODEL, "champion"),
    "delete the version": lambda mlflow, _: mlflow.delete_model_version(MODEL, "1"),
    "delete the model": lambda mlflow, _: mlflow.delete_registered_model(MODEL),
    "delete the run": lambda mlflow, run: mlflow.delete_run(run),
}


@pytest.mark.parametrize("user", [READER, WRITER])
def test_champion_of_a_missing_model_is_none(url: str, user: str) -> None:
    registry = MlflowRest(url, (user, PASSWORD))
    assert registry.champion("missing") is None
    champion = registry.champion(MODEL)
    assert champion is not None
    assert champion["version"] == "1"


def test_reader_changes_nothing(url: str) -> None:
    with mlflow_session(TrackingAccess(url, READER, PASSWORD)):
        reader = client(url)
        run = reader.get_model_version(MODEL, "1").run_id
        assert run
        allowed = [name for name, change in CHANGES.items() if not refused(lambda change=change: change(reader, run))]
        assert allowed == []


def test_writer_logs_to_an_experiment_and_a_model_of_the_administrator(url: str) -> None:
    with mlflow_session(TrackingAccess(url, ADMINISTRATOR, PASSWORD)):
        client(url).create_experiment("copied")
        client(url).create_registered_model("copied")
    with mlflow_session(TrackingAccess(url, WRITER, PASSWORD)):
        writer = client(url)
        run = find_or_create_run(writer, "copied", "copied-1")
        writer.log_metric(run.info.run_id, "accuracy", 1)
        writer.log_text(run.info.run_id, "text", "model/file")
        source = f"{run.info.artifact_uri}/model"
        version = writer.create_model_version("copied", source, run.info.run_id, await_creation_for=0)
        writer.set_registered_model_alias("copied", "champion", str(version.version))
        assert refused(lambda: writer.delete_registered_model("copied"))
        assert refused(lambda: writer.delete_experiment(run.info.experiment_id))


@pytest.mark.parametrize("user", [READER, WRITER])
def test_reader_and_writer_manage_no_users(url: str, session: Callable[[str], requests.Session], user: str) -> None:
    new = {"username": "mallory", "password": "a-password-of-mallory"}
    requests_of_user = [
        ("POST", f"{API}/users/create", new),
        ("PATCH", f"{API}/users/update-password", {"username": "admin", "password": "a-password-of-mallory"}),
        ("PATCH", f"{API}/users/update-admin", {"username": user, "is_admin": True}),
        ("DELETE", f"{API}/users/delete", {"username": "admin"}),
        (
            "POST",
            "/api/3.0/mlflow/users/permissions/grant",
            {"username": user, "resource_type": "experiment", "resource_id": "*", "permission": "MANAGE"},
        ),
    ]
    answers = [session(user).request(method, url + path, json=body) for method, path, body in requests_of_user]
    assert [answer.status_code for answer in answers] == [403] * len(answers), [answer.text for answer in answers]
    assert session(ADMINISTRATOR).get(f"{url}{API}/users/get", params={"username": "mallory"}).status_code == 404


def test_prepare_of_kept_users_changes_their_passwords_and_leaves_other_users(tmp_path: Path) -> None:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore
    from mlplatform.mlflow_server.users import set_up_users

    database = f"sqlite:///{tmp_path}/basic_auth.db"
    set_up_users(database, {user: f"the-old-password-of-{user}" for user in (ADMINISTRATOR, WRITER, READER)})
    store = SqlAlchemyStore()
    store.init_db(database)  # type: ignore[no-untyped-call]
    store.create_user("ada", "the-password-of-ada")
    set_up_users(database, {user: f"the-new-password-of-{user}" for user in (ADMINISTRATOR, WRITER, READER)})
    for user in (ADMINISTRATOR, WRITER, READER):
        assert store.authenticate_user(user, f"the-new-password-of-{user}")
        assert not store.authenticate_user(user, f"the-old-password-of-{user}")
        assert store.get_user(user).is_admin is (user == ADMINISTRATOR)
    assert store.authenticate_user("ada", "the-password-of-ada")


def test_server_keeps_an_idle_connection(url: str) -> None:
    """A request on a connection that the server closes gets no answer. uvicorn alone would close it after 5 s."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=30)
    with closing(connection):
        for pause in (0, 6):
            time.sleep(pause)
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b"OK"
            connection.auto_open = 0  # another connection would hide the closed one
