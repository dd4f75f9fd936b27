"""State of a stack whose MLflow lost its database, or was replaced by another one."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from pulumi.output import UNKNOWN

from infra.dynamic_provider import UserError
from workloads.engines.base import RunResult, RunState
from workloads.ml import tracking
from workloads.runs.resources import _PipelineRunProvider
from workloads.serving import model_check
from workloads.serving.champion import _ChampionProvider

PIPELINE, MODEL = "lost-pipeline", "lost-model"
RUN_ID = f"{PIPELINE}-20260101-000000-abcdef"
KNOWN = {"version": "1", "sha256": "abc", "accuracy": 0.9}
CHAMPION = {"model": MODEL, "deployed": "1", "run_id": RUN_ID, "pinned": "", "setting": "some:setting"}


CHECK = "import os, sys; sys.exit('it cannot be served: it is bad' if 'bad' in os.listdir(sys.argv[1]) else 0)"
"""Program in place of the model server: it refuses a model with a file `bad`."""


def add_version(url: str, file: str) -> str:
    """Register a version whose folder has one file of that name, and return the version."""
    client = tracking.client(url)
    run = tracking.find_or_create_run(client, PIPELINE, RUN_ID)
    client.log_text(run.info.run_id, "some text", f"{file}-model/{file}")
    source = f"{run.info.artifact_uri}/{file}-model"
    tags = {"sha256": "abc", "accuracy": "0.9"}
    created = client.create_model_version(MODEL, source, run.info.run_id, tags=tags, await_creation_for=0)
    return str(created.version)


def run_changes(url: Any, version: str | None) -> bool | None:
    """Return the diff of an unchanged run that registered `version`; None for a pipeline that registers no model."""
    props: dict[str, Any] = {
        "pipeline": PIPELINE,
        "sha256": "def",
        "data_fingerprint": "",
        "declared_parameters": {},
        "parameters": {},
        "platform": {"model_name": MODEL},
        "access": {"url": url},
    }
    outputs = {} if version is None else {"version": version}
    state = props | {"arguments": {}, "outputs": outputs, "run_id": RUN_ID}
    return _PipelineRunProvider().diff(RUN_ID, state, props).changes


def refreshed_champion(url: str) -> dict[str, Any]:
    return dict(_ChampionProvider().read(MODEL, {"access": {"url": url}, **CHAMPION, **KNOWN}).outs or {})


def champion_changes(state: dict[str, Any]) -> bool | None:
    return _ChampionProvider().diff(MODEL, state, {"access": state["access"], **CHAMPION}).changes


def update_champion(state: dict[str, Any]) -> dict[str, Any]:
    return dict(_ChampionProvider().update(MODEL, state, {"access": state["access"], **CHAMPION}).outs or {})


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", UNKNOWN])
def test_diff_of_a_run_with_an_unavailable_registry_changes_nothing(url: Any) -> None:
    assert run_changes(url, "1") is False


def test_diff_and_update_with_a_registry_that_lacks_the_model_repeat_the_run_and_restore_the_alias(
    mlflow_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_check, "COMMAND", (sys.executable, "-c", CHECK))
    # The database has no such model yet, as after its deletion: the state of the stack says that there is version 1.
    assert run_changes(mlflow_url, "1") is True
    assert run_changes(mlflow_url, "") is True
    assert run_changes(mlflow_url, None) is False
    lost = refreshed_champion(mlflow_url)
    assert lost["version"] == ""
    assert champion_changes(lost) is True
    with pytest.raises(UserError, match=rf"^some:setting: model {MODEL} has no version 1; there are: none$"):
        update_champion(lost)

    # The repeated run registers the version again; the run that failed its gate leaves its record only.
    client = tracking.client(mlflow_url)
    tracking.record(mlflow_url, PIPELINE, RUN_ID, {}, RunResult(RunState.SUCCEEDED, {}, [], ""), {})
    assert run_changes(mlflow_url, "") is False
    client.create_registered_model(MODEL)
    assert add_version(mlflow_url, "good") == "1"
    assert run_changes(mlflow_url, "1") is False
    assert run_changes(mlflow_url, "2") is True
    assert {name: update_champion(lost)[name] for name in KNOWN} == KNOWN
    assert champion_changes(refreshed_champion(mlflow_url)) is False

    client.delete_registered_model_alias(MODEL, "champion")
    without_alias = refreshed_champion(mlflow_url)
    assert champion_changes(without_alias) is True
    update_champion(without_alias)
    assert str(client.get_model_version_by_alias(MODEL, "champion").version) == "1"

    assert add_version(mlflow_url, "bad") == "2"
    client.set_registered_model_alias(MODEL, "champion", "2")
    refused = {"access": {"url": mlflow_url}, **CHAMPION, "deployed": "2"}
    with pytest.raises(UserError, match=rf"^version 2 of the model {MODEL} cannot be served: it is bad\. The champion"):
        _ChampionProvider().update(MODEL, refused | KNOWN | CHAMPION, refused)
    assert str(client.get_model_version_by_alias(MODEL, "champion").version) == "1"
