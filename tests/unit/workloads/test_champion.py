"""Champion of a model, by the responses of a registry."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import Mock

import pytest

from infra.dynamic_provider import UserError
from tests.stand_ins import Answering, answering
from workloads.ml.champion_history import ChampionChange, champion_changes, change_to
from workloads.serving import champion, model_check
from workloads.serving.champion import _ChampionProvider

KNOWN = {"version": "3", "sha256": "abc", "accuracy": 0.9}


REFUSAL = "its outputs contradict its signature"


class Registry(Answering):
    """Stand-in for the model registry of MLflow; `moves` are the versions that got the alias, None for none."""

    status = 200
    tags: ClassVar[dict[str, str]] = {}
    moves: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        status, tags = type(self).status, [{"key": key, "value": value} for key, value in type(self).tags.items()]
        if "registered-models/search" in self.path:
            aliases = [] if status == 404 else [{"alias": "champion", "version": "4"}]
            self.answer(200 if status == 404 else status, {"registered_models": [{"aliases": aliases}]})
        else:
            self.answer(status, {"model_version": {"version": "4", "tags": tags}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("registered-models/alias"):
            type(self).moves.append(body["version"])
        self.answer(200, {})

    def do_DELETE(self) -> None:
        type(self).moves.append(None)
        self.answer(200, {})


@pytest.fixture
def props() -> Iterator[dict[str, Any]]:
    Registry.status, Registry.tags, Registry.moves = 200, {"sha256": "def", "accuracy": "0.95"}, []
    with answering(Registry) as url:
        yield {"access": {"url": url}, "model": "iris", "pinned": "", "deployed": "", **KNOWN}


def read(props: dict[str, Any]) -> dict[str, Any]:
    outs = _ChampionProvider().read("iris", props).outs or {}
    return {name: outs[name] for name in KNOWN}


def test_history_of_champions_leaves_out_tags_of_users() -> None:
    key, value = ChampionChange(datetime(2026, 11, 28, tzinfo=UTC), "2", "gate", "me").tag()
    tags = {"champion.owner": "Maria", "champion.20261128T201500.000000Z": "edited by hand", key: value}
    assert [change.version for change in champion_changes(tags)] == ["2"]
    assert change_to(tags, "2", "gate", "me") is None


def test_read_after_a_moved_alias_returns_the_new_version(props: dict[str, Any]) -> None:
    assert read(props) == {"version": "4", "sha256": "def", "accuracy": 0.95}


def test_read_without_an_alias_returns_no_version(props: dict[str, Any]) -> None:
    Registry.status = 404
    assert read(props) == {"version": "", "sha256": "", "accuracy": 0.0}


def test_read_from_an_unavailable_registry_keeps_the_version(props: dict[str, Any]) -> None:
    Registry.status = 503
    assert read(props) == KNOWN
    assert read(props | {"access": {"url": "http://127.0.0.1:1"}}) == KNOWN


def test_read_while_no_pod_of_the_registry_is_ready_keeps_the_version(
    props: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(champion, "mlflow_rest", Mock(side_effect=UserError("no pod is ready")))
    assert read(props) == KNOWN


def test_diff_after_a_changed_password_stores_it_for_the_next_refresh(props: dict[str, Any]) -> None:
    state, news = (props | {"run_id": "1", "access": {**props["access"], "password": word}} for word in ("old", "new"))
    assert _ChampionProvider().diff("iris", state, state).changes is False
    assert _ChampionProvider().diff("iris", state, news).changes is True


def test_read_and_create_with_a_manually_registered_champion_raise(props: dict[str, Any]) -> None:
    Registry.tags = {}
    for call in (lambda: read(props), lambda: _ChampionProvider().create(props)):
        with pytest.raises(
            UserError,
            match="version 4 of the model iris has the alias champion, but lacks the tags sha256 and "
            "accuracy: no pipeline",
        ):
            call()


def update(props: dict[str, Any], previous: str, deployed: str, monkeypatch: pytest.MonkeyPatch, reason: str) -> Any:
    """Update the champion from `previous` to `deployed`, which the model server refuses for a reason other than ""."""
    monkeypatch.setattr(champion, "refusal", lambda *_: reason or None)
    news = props | {"deployed": deployed, "setting": "some:setting"}
    return _ChampionProvider().update("iris", props | {"version": previous}, news).outs


@pytest.mark.parametrize(
    ("previous", "deployed", "moves", "remaining"),
    [
        ("3", "4", ["3"], "version 3"),
        ("", "4", [None], "none"),
        ("4", "4", [], "version 4"),
        ("4", "5", [], "version 4"),
    ],
    ids=["moved-by-the-pipeline", "first-version", "same-version", "pinned"],
)
def test_update_to_a_refused_version_leaves_the_alias_at_the_previous_version(
    props: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    previous: str,
    deployed: str,
    moves: list[str | None],
    remaining: str,
) -> None:
    expected = f"^version {deployed} of the model iris cannot be served: {REFUSAL}. The champion is still {remaining}. "
    with pytest.raises(UserError, match=expected):
        update(props, previous, deployed, monkeypatch, REFUSAL)
    assert Registry.moves == moves


def test_update_to_an_accepted_version_gives_it_the_alias(
    props: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert update(props, "3", "4", monkeypatch, "")["version"] == "4"
    assert Registry.moves == ["4"]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; assert sys.argv[1:] == ['FOLDER']", None),
        ("print('model_server: the model in FOLDER cannot be served: no such input'); exit(1)", "no such input"),
        ("exit(3)", "the check ended with code 3"),
        ("import time; time.sleep(60)", "the check took longer than 5 s"),
        ("import os; exit('PULUMI_CONFIG_PASSPHRASE' in os.environ)", None),
    ],
)
def test_folder_refusal_returns_the_last_line_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, reason: str | None
) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "word")
    monkeypatch.setattr(model_check, "COMMAND", (sys.executable, "-c", program.replace("FOLDER", str(tmp_path))))
    monkeypatch.setattr(model_check, "CHECK_SECONDS", 5 if "sleep" in program else 120)
    assert model_check.folder_refusal(tmp_path) == reason
