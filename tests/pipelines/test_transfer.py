"""Champions of one MLflow server brought to another, behind passwords of their own."""

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
from workloads.ml import model, registry, tracking
from workloads.model_transfer import transfer
from workloads.model_transfer.transfer import FROM_RUN, Server

from .conftest import mlflow_server
from .test_model import METRICS, trained

FLOWERS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Server]]:
    before = dict(os.environ)
    folders = [tmp_path_factory.mktemp(name) for name in ("theirs", "ours")]
    with mlflow_server(folders[0], "a-word-of-theirs") as theirs, mlflow_server(folders[1], "a-word-of-ours") as ours:
        yield (
            Server("organization/mlplatform/a", TrackingAccess(theirs, "admin", "a-word-of-theirs")),
            Server("this stack", TrackingAccess(ours, "admin", "a-word-of-ours")),
        )
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def theirs(servers: tuple[Server, Server]) -> Server:
    return servers[0]


@pytest.fixture
def ours(servers: tuple[Server, Server]) -> Server:
    return servers[1]


@pytest.fixture
def name(theirs: Server) -> Iterator[str]:
    """A model's name, of which no other test's transfer hears."""
    yield f"model-{uuid.uuid4().hex[:8]}"
    with theirs.client() as client:
        for found in client.search_registered_models():
            client.delete_registered_model(found.name)


def registered(server: Server, folder: Path, name: str, *trees: int) -> None:
    """Register a forest of each of these numbers of trees, the last as champion."""
    for number in trees:
        (folder / str(number)).mkdir(parents=True)
        with server.client():
            registry.register(
                server.access.url,
                trained(folder / str(number), number, name),
                name,
                METRICS,
                f"{name}-pipeline",
                f"run-{number}",
            )


def test_versions_aliases_and_runs_are_the_same_here(theirs: Server, ours: Server, tmp_path: Path, name: str) -> None:
    registered(theirs, tmp_path, name, 3, 5, 7)
    with theirs.client() as client:
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
        there = client.get_run(run_id)
        answers = registry.fetch(theirs.access.url, name, "3").predict(FLOWERS)

    assert transfer.transfer(theirs, ours) == {name: "3"}

    with ours.client() as client:
        found = client.get_registered_model(name)
        assert found.aliases == {"champion": "3", "runner-up": "1"}
        assert (found.description, found.tags) == ("Tells flowers apart", {"owner": "botany"})
        version = client.get_model_version(name, "3")
        assert version.tags["sha256"] == model.load(tmp_path / "7/model").signature["sha256"]
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
        served = registry.fetch(ours.url, name, "3").predict(FLOWERS)
        assert all((one == other).all() for one, other in zip(answers, served, strict=True))
        # A pipeline that goes on here finds the run that it had there.
        assert tracking.find_or_create_run(client, f"{name}-pipeline", "run-7").info.run_id == here.info.run_id


def test_the_same_again_brings_nothing(theirs: Server, ours: Server, tmp_path: Path, name: str) -> None:
    registered(theirs, tmp_path, name, 4)
    transfer.transfer(theirs, ours)
    before = everything(ours)
    assert transfer.transfer(theirs, ours) == {name: "1"}
    assert everything(ours) == before


@pytest.mark.parametrize("step", ["_write", "_register"])
def test_a_transfer_that_was_ended_half_way_is_finished(
    theirs: Server, ours: Server, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    registered(theirs, tmp_path, name, 4, 6)
    interrupted(monkeypatch, step, after=1)
    with pytest.raises(KeyboardInterrupt):
        transfer.transfer(theirs, ours)
    monkeypatch.undo()
    transfer.transfer(theirs, ours)
    with ours.client() as client:
        versions = sorted(client.search_model_versions(f"name = '{name}'"), key=lambda each: int(each.version))
        assert [(each.version, each.tags["run"]) for each in versions] == [("1", "run-4"), ("2", "run-6")]
        experiment = client.get_experiment_by_name(f"{name}-pipeline")
        assert experiment
        assert len(client.search_runs([experiment.experiment_id])) == 2


def interrupted(monkeypatch: pytest.MonkeyPatch, step: str, after: int) -> None:
    """Let a function of the transfer work so many times, and then be interrupted when it has done its work."""
    original: Callable[..., object] = getattr(transfer, step)
    calls: list[int] = []

    def once_more(*arguments: object) -> object:
        done = original(*arguments)
        calls.append(1)
        if len(calls) > after:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(transfer, step, once_more)


def test_an_experiment_that_somebody_deleted_here_is_brought_back(
    theirs: Server, ours: Server, tmp_path: Path, name: str
) -> None:
    registered(theirs, tmp_path, name, 4)
    with ours.client() as client:
        client.delete_experiment(client.create_experiment(f"{name}-pipeline"))
    assert transfer.transfer(theirs, ours) == {name: "1"}


def test_the_number_of_a_deleted_version_is_given_to_no_other(
    theirs: Server, ours: Server, tmp_path: Path, name: str
) -> None:
    registered(theirs, tmp_path, name, 4, 6, 8)
    with theirs.client() as client:
        client.delete_model_version(name, "2")
    transfer.transfer(theirs, ours)
    with ours.client() as client:
        found = {each.version: each.tags["run"] for each in client.search_model_versions(f"name = '{name}'")}
    assert found == {"1": "run-4", "3": "run-8"}


def test_a_model_that_has_versions_of_its_own_is_refused(
    theirs: Server, ours: Server, tmp_path: Path, name: str
) -> None:
    registered(theirs, tmp_path / "theirs", name, 4)
    registered(ours, tmp_path / "ours", name, 6)
    before = everything(ours)
    with pytest.raises(UserError, match=f"the model {name} has another version 1 here"):
        transfer.transfer(theirs, ours)
    assert everything(ours) == before


def test_versions_that_were_deleted_here_are_said_to_be_in_the_way(
    theirs: Server, ours: Server, tmp_path: Path, name: str
) -> None:
    registered(theirs, tmp_path / "theirs", name, 4)
    registered(ours, tmp_path / "ours", name, 6)
    with ours.client() as client:
        client.delete_model_version(name, "1")
    with pytest.raises(UserError, match=f"{name} version 1 would get the number 2 here"):
        transfer.transfer(theirs, ours)


def test_a_model_that_was_changed_after_its_registration_is_refused(
    theirs: Server, ours: Server, tmp_path: Path, name: str
) -> None:
    registered(theirs, tmp_path, name, 4)
    with theirs.client() as client:
        run_id = client.get_model_version(name, "1").run_id or ""
        other = tmp_path / "other"
        other.mkdir()
        client.log_artifacts(run_id, str(trained(other, 9, name)), registry.ARTIFACT)
    with pytest.raises(UserError, match=f"{name} version 1 was changed: its SHA-256 is"):
        transfer.transfer(theirs, ours)


def test_a_model_that_no_pipeline_registered_is_named_and_can_be_left_out(
    theirs: Server, ours: Server, name: str
) -> None:
    with theirs.client() as client:
        client.create_registered_model(name)
        client.create_model_version(name, "s3://elsewhere/model", await_creation_for=0)
        client.set_registered_model_alias(name, registry.ALIAS, "1")
    with pytest.raises(UserError, match=f"{name} version 1 was not registered by a pipeline of this program"):
        transfer.transfer(theirs, ours)
    with theirs.client() as client:
        client.delete_registered_model_alias(name, registry.ALIAS)
    assert transfer.transfer(theirs, ours) == {}


def everything(server: Server) -> object:
    """All that the server has registered, and all its runs."""

    def described(client: MlflowClient) -> object:
        experiments = [each.experiment_id for each in client.search_experiments()]
        return (
            [(found.name, found.aliases, found.tags) for found in client.search_registered_models()],
            [(found.name, found.version, found.tags) for found in client.search_model_versions()],
            [(found.info.run_id, found.info.end_time, found.data.tags) for found in client.search_runs(experiments)],
        )

    with server.client() as client:
        return described(client)
