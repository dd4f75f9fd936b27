"""Transfer of champions from one MLflow server to another, each with its own password."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from tests.mlflow_servers import mlflow_server
from tests.pipelines.training.test_model import METRICS, train_iris
from workloads.ml import model_registry, tracking
from workloads.ml.champion_history import champion_changes
from workloads.ml.model.model_directory import load_model_directory
from workloads.model_transfer import transfer
from workloads.model_transfer.model_transfer import _ModelsFromProvider
from workloads.model_transfer.transfer import FROM_RUN, Server

from .conftest import USERS_PASSWORD

FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)


@pytest.fixture(scope="module")
def source_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("source")


@pytest.fixture
def source_database(source_folder: Path) -> str:
    return f"sqlite:///{source_folder}/mlflow.db"


@pytest.fixture(scope="module")
def servers(source_folder: Path, protected_mlflow: str) -> Iterator[tuple[Server, Server]]:
    before = dict(os.environ)
    with mlflow_server(source_folder, "source-password") as source:
        yield (
            Server("organization/mlplatform/a", TrackingAccess(source, "admin", "source-password")),
            Server("this stack", TrackingAccess(protected_mlflow, "admin", USERS_PASSWORD)),
        )
    os.environ.clear()
    os.environ.update(before)


def test_source_that_is_down_is_named_with_the_remedy() -> None:
    # Pulumi leaves out an input that is None.
    with pytest.raises(UserError, match="the stack organization/mlplatform/a has no output tracking_access; run `up`"):
        _ModelsFromProvider().create({"stack": "organization/mlplatform/a", "access": {}})


@pytest.fixture
def source(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture
def target(servers: tuple[Server, Server]) -> Server:
    return servers[1]


@pytest.fixture
def name(source: Server) -> Iterator[str]:
    """Yield a model name; its registered model is deleted after the test."""
    yield f"model-{uuid.uuid4().hex[:8]}"
    with source.client() as client:
        for found in client.search_registered_models():
            client.delete_registered_model(found.name)


def register_forests(server: Server, folder: Path, name: str, *trees: int) -> None:
    """Register one forest for each number of trees, the last as champion."""
    for number in trees:
        (folder / str(number)).mkdir(parents=True)
        with server.client():
            model_registry.register(
                server.access.url,
                train_iris(folder / str(number), number, name),
                name,
                METRICS,
                f"{name}-pipeline",
                f"run-{number}",
            )


def test_transfer_copies_versions_aliases_and_runs(source: Server, target: Server, tmp_path: Path, name: str) -> None:
    register_forests(source, tmp_path, name, 3, 5, 7)
    with source.client() as client:
        run_id = client.get_model_version(name, "3").run_id or ""
        client.log_batch(
            run_id,
            [Metric("loss", 1 / step, 1_700_000_000_000 + step, step) for step in range(1, 251)],
            [Param(f"parameter-{number}", str(number)) for number in range(120)],
        )
        client.log_text(run_id, "seen", "notes/note.txt")
        client.set_registered_model_alias(name, "runner-up", "1")
        client.update_registered_model(name, "Tells flowers apart")
        client.set_registered_model_tag(name, "owner", "botany")
        tags = client.get_registered_model(name).tags
        there = client.get_run(run_id)
        answers = model_registry.fetch(source.access.url, name, "3").predict(FLOWERS)

    assert transfer.transfer(source, target) == {name: "3"}

    with target.client() as client:
        found = client.get_registered_model(name)
        assert found.aliases == {"champion": "3", "runner-up": "1"}
        assert (found.description, found.tags) == ("Tells flowers apart", tags)
        assert found.tags["owner"] == "botany"
        assert [change.version for change in champion_changes(found.tags)] == ["1", "2", "3"]
        version = client.get_model_version(name, "3")
        assert version.tags["sha256"] == load_model_directory(tmp_path / "7/model").signature["sha256"]
        here = client.get_run(version.run_id)
        assert here.data.params == there.data.params
        assert here.data.metrics == there.data.metrics
        assert here.data.tags == there.data.tags | {FROM_RUN: run_id}
        assert client.get_experiment(here.info.experiment_id).name == f"{name}-pipeline"
        for part in ("run_name", "status", "start_time", "end_time"):
            assert getattr(here.info, part) == getattr(there.info, part), part
        history = client.get_metric_history(here.info.run_id, "loss")
        assert [(each.step, each.value) for each in history] == [(step, 1 / step) for step in range(1, 251)]
        note = client.download_artifacts(here.info.run_id, "notes/note.txt", str(tmp_path))
        assert Path(note).read_text() == "seen"
        served = model_registry.fetch(target.access.url, name, "3").predict(FLOWERS)
        assert all((one == other).all() for one, other in zip(answers, served, strict=True))
        # A pipeline that continues on the new server finds the run of the old one.
        assert tracking.find_or_create_run(client, f"{name}-pipeline", "run-7").info.run_id == here.info.run_id


def test_transfer_again_changes_nothing(source: Server, target: Server, tmp_path: Path, name: str) -> None:
    register_forests(source, tmp_path, name, 4)
    transfer.transfer(source, target)
    before = snapshot(target)
    assert transfer.transfer(source, target) == {name: "1"}
    assert snapshot(target) == before


@pytest.mark.parametrize("step", ["_write_run", "_register"])
def test_transfer_after_interruption_completes(
    source: Server, target: Server, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    register_forests(source, tmp_path, name, 4, 6)
    interrupt(monkeypatch, step, after=1)
    with pytest.raises(KeyboardInterrupt):
        transfer.transfer(source, target)
    monkeypatch.undo()
    transfer.transfer(source, target)
    with target.client() as client:
        versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda each: int(each.version))
        assert [(each.version, each.tags["run"]) for each in versions] == [("1", "run-4"), ("2", "run-6")]
        experiment = client.get_experiment_by_name(f"{name}-pipeline")
        assert experiment
        assert len(client.search_runs([experiment.experiment_id])) == 2


def interrupt(monkeypatch: pytest.MonkeyPatch, step: str, after: int) -> None:
    """Interrupt the transfer when a function of it has returned more than `after` times."""
    original: Callable[..., object] = getattr(transfer, step)
    calls: list[int] = []

    def call_original(*arguments: object) -> object:
        done = original(*arguments)
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(transfer, step, call_original)


def test_transfer_to_deleted_experiment_restores_it(source: Server, target: Server, tmp_path: Path, name: str) -> None:
    register_forests(source, tmp_path, name, 4)
    with target.client() as client:
        client.delete_experiment(client.create_experiment(f"{name}-pipeline"))
    assert transfer.transfer(source, target) == {name: "1"}


def test_transfer_keeps_version_numbers_after_a_deleted_one(
    source: Server, target: Server, tmp_path: Path, name: str
) -> None:
    register_forests(source, tmp_path, name, 4, 6, 8)
    with source.client() as client:
        client.delete_model_version(name, "2")
    transfer.transfer(source, target)
    with target.client() as client:
        found = {each.version: each.tags["run"] for each in client.search_model_versions(f"name = '{name}'")}
    assert found == {"1": "run-4", "3": "run-8"}


def test_transfer_of_model_with_other_versions_raises_error(
    source: Server, target: Server, tmp_path: Path, name: str
) -> None:
    register_forests(source, tmp_path / "source", name, 4)
    register_forests(target, tmp_path / "target", name, 6)
    before = snapshot(target)
    with pytest.raises(UserError, match=f"the model {name} has another version 1 here"):
        transfer.transfer(source, target)
    assert snapshot(target) == before


def test_transfer_after_deleted_versions_raises_error(
    source: Server, target: Server, tmp_path: Path, name: str
) -> None:
    register_forests(source, tmp_path / "source", name, 4)
    register_forests(target, tmp_path / "target", name, 6)
    with target.client() as client:
        client.delete_model_version(name, "1")
    with pytest.raises(UserError, match=f"{name} version 1 would get the number 2 here"):
        transfer.transfer(source, target)


def test_transfer_of_changed_model_raises_error(source: Server, target: Server, tmp_path: Path, name: str) -> None:
    register_forests(source, tmp_path, name, 4)
    with source.client() as client:
        version = client.get_model_version(name, "1")
        other = tmp_path / "other"
        other.mkdir()
        directory = (version.source or "").partition("/artifacts/")[2]
        client.log_artifacts(version.run_id or "", str(train_iris(other, 9, name)), directory)
    with pytest.raises(UserError, match=f"{name} version 1 was changed: its SHA-256 is"):
        transfer.transfer(source, target)


def test_transfer_copies_two_models_of_a_run(source: Server, target: Server, tmp_path: Path, name: str) -> None:
    for trees in (4, 6):
        (tmp_path / str(trees)).mkdir()
        with source.client():
            model = train_iris(tmp_path / str(trees), trees, name)
            model_registry.register(source.access.url, model, f"{name}-{trees}", METRICS, f"{name}-pipeline", "run-1")
    assert transfer.transfer(source, target) == {f"{name}-4": "1", f"{name}-6": "1"}
    with target.client():
        for trees in (4, 6):
            copied = model_registry.fetch(target.access.url, f"{name}-{trees}", "1")
            assert copied.onnx == (tmp_path / f"{trees}/model/model.onnx").read_bytes()


def test_transfer_of_a_version_whose_run_was_removed_for_good_names_it(
    source: Server, target: Server, source_database: str, tmp_path: Path, name: str
) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    register_forests(source, tmp_path, name, 4, 5)
    with source.client() as client:
        run_id = client.get_model_version(name, "1").run_id
        assert run_id
        client.delete_run(run_id)
        SqlAlchemyStore(source_database, str(tmp_path))._hard_delete_run(run_id)  # type: ignore[no-untyped-call]
        with pytest.raises(UserError, match=f"{name} version 1 cannot be copied: its run {run_id} was removed for"):
            transfer.transfer(source, target)
        client.delete_model_version(name, "1")
    assert transfer.transfer(source, target) == {name: "2"}


def test_transfer_of_foreign_champion_raises_error_until_alias_is_deleted(
    source: Server, target: Server, name: str
) -> None:
    with source.client() as client:
        client.create_registered_model(name)
        client.create_model_version(name, "s3://elsewhere/model", await_creation_for=0)
        client.set_registered_model_alias(name, model_registry.ALIAS, "1")
    with pytest.raises(UserError, match=f"{name} version 1 was not registered by a pipeline of this program"):
        transfer.transfer(source, target)
    with source.client() as client:
        client.delete_registered_model_alias(name, model_registry.ALIAS)
    assert transfer.transfer(source, target) == {}


def snapshot(server: Server) -> object:
    """Return all registered models, versions and runs of the server."""

    def described(client: MlflowClient) -> object:
        experiments = [each.experiment_id for each in client.search_experiments()]
        return (
            [(found.name, found.aliases, found.tags) for found in client.search_registered_models()],
            [(found.name, found.version, found.tags) for found in client.search_model_versions()],
            [(found.info.run_id, found.info.end_time, found.data.tags) for found in client.search_runs(experiments)],
        )

    with server.client() as client:
        return described(client)
