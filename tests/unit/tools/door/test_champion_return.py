"""`make back`, with a stand-in for MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest

from settings.stack import StackSettings
from tests.stand_ins import Answering, answering
from tools.cli.champions import champion_return
from tools.cli.champions.champion_return import back
from tools.cli.cluster_access import AccessError

COMMIT = "c0ffee" * 6 + "abcd"
CHANGES = {"20261128T100000.000000Z": "3", "20261128T200000.000000Z": "4"}
SETTING = "workloads:pipelines.iris-external.version"


def pairs(**values: str) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


class History(Answering):
    """Stand-in for an MLflow whose model iris had the champions 3 and 4."""

    commit = COMMIT

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path.endswith("registered-models/search"):
            tags = {f"champion.{time}": _change(version) for time, version in CHANGES.items()}
            self.answer(200, {"registered_models": [{"name": "iris", "tags": pairs(**tags)}]})
        elif address.path.endswith("model-versions/get"):
            (version,) = parse_qs(address.query)["version"]
            found = {"version": version, "run_id": "r", "tags": pairs(accuracy="0.9", sha256="abc")}
            self.answer(200 if version in CHANGES.values() else 404, {"model_version": found})
        elif address.path.endswith("model-versions/search"):
            self.answer(200, {"model_versions": [{"version": version} for version in CHANGES.values()]})
        else:
            data = {"tags": pairs(git_commit=self.commit, pipeline="iris-external")}
            self.answer(200, {"run": {"info": {"run_name": "iris-external-1"}, "data": data}})


def _change(version: str) -> str:
    return json.dumps({"version": version, "reason": "no gate", "author": "ann@pc"})


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mock]:
    """Yield a stack that serves iris; `recorded` has what goes to the audit log."""
    History.commit = COMMIT
    settings: dict[str, Any] = {
        "infra": {"machines": "lab", "cluster": "kubeadm"},
        "platform": {"pipelines": "job"},
        "workloads": {"pipelines": {"iris-external": {"model": "iris", "serve": True}}},
    }
    stack = Mock(stack="lab", settings=settings)
    stack.name = "lab"
    with answering(History) as url:
        monkeypatch.setattr(champion_return, "secret_outputs", lambda _: {"tracking_access": {"url": url}})
        monkeypatch.setattr(champion_return, "stack_settings", lambda each: StackSettings.model_validate(each.settings))
        monkeypatch.setattr(champion_return, "record_action", stack.recorded)
        yield stack


@pytest.mark.parametrize(("to", "version"), [("3", "3"), ("2026-11-28T12:00", "3"), ("2026-11-28T20:15", "4")])
def test_back_pins_the_champion_of_a_time_or_a_version(
    stack: Mock, to: str, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert back(stack, ["--to", to]) == 0
    stack.output.assert_called_once_with("config", "set", "--path", SETTING, version)
    assert stack.recorded.call_args.args[2:] == ("pinned the champion", f"iris/{version}", f"make back TO={to}")
    text = " ".join(capsys.readouterr().out.split())
    assert f"Model iris, version {version}" in text
    assert f"git switch --detach {COMMIT}." in text
    assert "Not returned: the data of the pipeline" in text
    assert "canary" not in text


def test_back_says_what_stays_in_the_way(stack: Mock, capsys: pytest.CaptureFixture[str]) -> None:
    History.commit = f"{COMMIT}-dirty"
    stack.settings["serving"] = {"canary": {"version": 4}}
    assert back(stack, ["--to", "3"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert f"git switch --detach {COMMIT}, whose checkout had further changes that no commit has" in text
    assert "remove serving:canary first" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "9"], "TO=9: the model iris has no version 9; there are: 3, 4"),
        (["--to", "2026-11-27"], "TO=2026-11-27: no champion of the model iris is recorded at that time"),
        (["--to", "yesterday"], "TO=yesterday: 'yesterday' is no time"),
        (["--to", "3", "--model", "wine"], "--model wine': the stack serves iris; name one of its models"),
    ],
)
def test_back_to_nothing_changes_nothing(stack: Mock, arguments: list[str], message: str) -> None:
    with pytest.raises(AccessError) as raised:
        back(stack, arguments)
    assert message in str(raised.value)
    assert not stack.output.called
    assert not stack.recorded.called
