"""The gate of the settings: the platform applies it to every version, also to one of a pipeline's own code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qs

import pytest

from infra.dynamic_provider import UserError
from tests.stand_ins import Answering, answering
from workloads.serving import champion
from workloads.serving.champion import _ChampionProvider

SETTING = "workloads:pipelines.wine.gate"
ABOVE = [{"metric": "accuracy", "above": 0.9}]
BELOW = [{"metric": "rmse", "below": 3.5}]
BETTER = [{"metric": "f1", "better_than_champion": True}]


class Registry(Answering):
    """Stand-in for MLflow with version 1 as champion and version 2 new; `moves` are versions that got the alias."""

    alias: ClassVar[str] = "1"
    metrics: ClassVar[dict[str, float]] = {}
    moves: ClassVar[list[str | None]] = []
    recorded: ClassVar[list[tuple[str, str]]] = []

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path.endswith("registered-models/search"):
            aliases = [{"alias": "champion", "version": self.alias}] if self.alias else []
            self.answer(200, {"registered_models": [{"name": "iris", "aliases": aliases}]})
        elif path.endswith("model-versions/get"):
            (number,) = parse_qs(query)["version"]
            tags = self.tags(sha256="abc", accuracy="0.95")
            self.answer(200, {"model_version": {"version": number, "run_id": "own", "tags": tags}})
        elif path.endswith("experiments/get-by-name"):
            self.answer(404, {})
        else:
            self.answer(200, {"run": self.run_of(self.metrics)})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("registered-models/alias"):
            type(self).moves.append(body["version"])
            type(self).alias = body["version"]
        else:
            self.recorded.append((body["key"], body["value"]))
        self.answer(200, {})

    def do_DELETE(self) -> None:
        type(self).moves.append(None)
        type(self).alias = ""
        self.answer(200, {})

    @staticmethod
    def tags(**tags: str) -> list[dict[str, str]]:
        return [{"key": key, "value": value} for key, value in tags.items()]

    @staticmethod
    def run_of(metrics: dict[str, float]) -> dict[str, Any]:
        return {"data": {"metrics": [{"key": key, "value": value} for key, value in metrics.items()]}}


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(champion, "refusal", lambda *_: None)
    Registry.alias, Registry.metrics, Registry.moves, Registry.recorded = "1", {}, [], []
    with answering(Registry) as address:
        yield address


def update(url: str, gate: list[dict[str, Any]], previous: str = "1", **changes: Any) -> dict[str, Any]:
    """Update the champion from version `previous` to version 2, which the last run registered."""
    props = {
        "access": {"url": url},
        "model": "wine",
        "pipeline": "wine",
        "pinned": "",
        "deployed": "2",
        "run_id": "wine-1",
        "setting": "workloads:pipelines.wine.version",
        "gate": gate,
    } | changes
    olds = props | {"version": previous, "deployed": previous, "sha256": "abc", "accuracy": 0.95}
    return dict(_ChampionProvider().update("wine", olds, props).outs or {})


@pytest.mark.parametrize(
    ("gate", "metrics", "decision"),
    [
        (ABOVE, {"accuracy": 0.5}, "accuracy 0.5 < baseline 0.9: not above it"),
        (ABOVE, {"accuracy": 0.9}, "accuracy 0.9 = baseline 0.9: not above it"),
        (BELOW, {"rmse": 4.0}, "rmse 4 > baseline 3.5: not below it"),
        (BETTER, {"f1": 0.9, "champion_f1": 0.9}, "f1 0.9 = champion 0.9: not above it"),
        ([*ABOVE, *BELOW], {"accuracy": 0.99, "rmse": 4.0}, "rmse 4 > baseline 3.5: not below it"),
        (ABOVE, {"accuracy": float("nan")}, "accuracy nan against baseline 0.9: not above it"),
    ],
)
@pytest.mark.parametrize("alias", ["1", "2"], ids=["registered", "alias-moved-by-the-pipeline"])
def test_update_to_a_version_below_the_gate_keeps_the_champion(
    url: str, gate: list[dict[str, Any]], metrics: dict[str, float], decision: str, alias: str
) -> None:
    Registry.metrics, Registry.alias = metrics, alias
    outs = update(url, gate)
    assert Registry.alias == "1"
    assert outs["version"] == "1"
    assert outs["decision"] == f"{decision}, so version 2 of wine does not become the champion"


def test_update_to_a_first_version_below_the_gate_leaves_no_champion(url: str) -> None:
    Registry.metrics, Registry.alias = {"accuracy": 0.5}, "2"
    outs = update(url, ABOVE, previous="")
    assert (Registry.alias, outs["version"]) == ("", "")
    news = {key: outs[key] for key in ("access", "model", "pinned", "deployed", "run_id", "gate", "pipeline")}
    assert _ChampionProvider().diff("wine", outs, news).changes is False
    assert _ChampionProvider().diff("wine", outs, news | {"gate": BELOW}).changes is True


@pytest.mark.parametrize(
    ("gate", "metrics", "decision"),
    [
        (ABOVE, {"accuracy": 0.95}, "accuracy 0.95 > baseline 0.9: wine version 2 is champion"),
        (BETTER, {"f1": 0.95, "champion_f1": 0.9}, "f1 0.95 > champion 0.9: wine version 2 is champion"),
        (BELOW, {"rmse": 3.0}, "rmse 3 < baseline 3.5: wine version 2 is champion"),
        ([], {}, "no gate: wine version 2 is champion"),
    ],
)
def test_update_to_a_version_that_passes_moves_the_alias(
    url: str, gate: list[dict[str, Any]], metrics: dict[str, float], decision: str
) -> None:
    Registry.metrics = metrics
    outs = update(url, gate)
    assert Registry.moves == ["2"]
    assert (outs["version"], outs["decision"]) == ("2", decision)


@pytest.mark.parametrize(
    ("gate", "metric"),
    [(BELOW, "rmse"), (BETTER, "f1"), ([{"metric": "accuracy", "better_than_champion": True}], "champion_accuracy")],
)
@pytest.mark.parametrize("alias", ["1", "2"])
def test_update_to_a_version_without_the_metric_raises_error_and_keeps_the_champion(
    url: str, gate: list[dict[str, Any]], metric: str, alias: str
) -> None:
    Registry.metrics, Registry.alias = {"accuracy": 0.95}, alias
    with pytest.raises(UserError) as refused:
        update(url, gate)
    assert str(refused.value).startswith(f"{SETTING}: version 2 of the model wine has no metric {metric}. ")
    assert "Log it in the test step" in str(refused.value)
    assert f"log_metric('{metric}', value)" in str(refused.value)
    assert "It has: accuracy" in str(refused.value)
    assert Registry.alias == "1"


def test_update_to_a_pinned_version_ignores_the_gate(url: str) -> None:
    Registry.metrics = {"accuracy": 0.5}
    outs = update(url, ABOVE, pinned="2", deployed="")
    assert Registry.moves == ["2"]
    assert outs["decision"] == "workloads:pipelines.wine.version: wine version 2 is champion"


def test_update_with_a_raised_gate_keeps_the_serving_version(url: str) -> None:
    Registry.metrics, Registry.alias = {"accuracy": 0.5}, "2"
    outs = update(url, ABOVE, previous="2")
    assert (Registry.alias, outs["version"]) == ("2", "2")


@pytest.mark.parametrize(
    "change",
    [
        {"gate": BELOW},
        {"access": {"password": "new"}},
        {"canary": {"version": "10", "state": "testing", "reason": ""}},
        {"canary": {"version": "10", "state": "taken back", "reason": "errors"}},
    ],
    ids=["gate", "password", "canary", "canary-taken-back"],
)
def test_update_with_the_same_run_keeps_the_champion_of_a_scheduled_run(url: str, change: dict[str, Any]) -> None:
    deployed = update(url, [])
    assert deployed["accepted"] == "2"
    Registry.alias, Registry.moves = "9", []
    refreshed = dict(_ChampionProvider().read("wine", deployed).outs or {})
    change = {name: {"url": url, **value} if name == "access" else value for name, value in change.items()}
    assert _ChampionProvider().diff("wine", refreshed, refreshed | change).changes is True
    outs = dict(_ChampionProvider().update("wine", refreshed, refreshed | change).outs or {})
    assert (Registry.moves, outs["version"], outs["decision"]) == ([], "9", deployed["decision"])


def test_update_with_a_lowered_gate_accepts_the_version_that_was_rejected(url: str) -> None:
    Registry.metrics = {"accuracy": 0.5}
    rejected = update(url, ABOVE)
    assert (rejected["version"], rejected["rejected"]) == ("1", "2")
    outs = dict(_ChampionProvider().update("wine", rejected, rejected | {"gate": []}).outs or {})
    assert (outs["version"], outs["rejected"], Registry.moves) == ("2", "", ["2"])


def test_update_with_a_lowered_gate_leaves_the_champion_of_a_later_scheduled_run(url: str) -> None:
    Registry.metrics = {"accuracy": 0.5}
    rejected = update(url, ABOVE)
    Registry.alias, Registry.moves = "9", []
    refreshed = dict(_ChampionProvider().read("wine", rejected).outs or {})
    outs = dict(_ChampionProvider().update("wine", refreshed, refreshed | {"gate": []}).outs or {})
    assert (outs["version"], Registry.moves) == ("9", [])


@pytest.mark.parametrize("refused", [None, "its outputs contradict its signature"], ids=["gate", "server"])
def test_version_that_an_interrupted_up_left_with_the_alias_has_to_pass_the_gate(
    url: str, refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = update(url, ABOVE, deployed="1")
    assert before["accepted"] == "1"
    Registry.alias, Registry.metrics = (
        "2",
        {"accuracy": 0.95 if refused else 0.5},
    )  # the pipeline gave it to its version
    monkeypatch.setattr(champion, "refusal", lambda *_: refused)
    refreshed = dict(_ChampionProvider().read("wine", before).outs or {})
    new_run = refreshed | {"deployed": "2", "run_id": "wine-2"}
    if refused:
        with pytest.raises(UserError, match="The champion is still version 1"):
            _ChampionProvider().update("wine", refreshed, new_run)
    else:
        assert (_ChampionProvider().update("wine", refreshed, new_run).outs or {})["version"] == "1"
    assert Registry.alias == "1"


def test_update_to_a_version_from_another_stack_ignores_the_gate(url: str) -> None:
    Registry.alias = "2"
    assert update(url, BELOW, previous="", run_id="")["version"] == "2"
    assert Registry.alias == "2"


TRIAL = {"version": "2", "state": "testing", "reason": ""}
PROMOTED = TRIAL | {"state": "promoted", "reason": "it met its conditions"}
LOST = TRIAL | {"state": "taken back", "reason": "errors"}


def after_trial(url: str, gate: list[dict[str, Any]], trial: dict[str, str], **changes: Any) -> dict[str, Any]:
    """Update the champion, version 1 of the last run, after the trial of version 2."""
    pinned = changes.get("pinned", "")
    props = update(url, gate, deployed="1", canary=TRIAL, pinned=pinned)
    Registry.alias, Registry.moves, Registry.recorded = "1", [], []
    assert _ChampionProvider().diff("wine", props, props | {"canary": trial}).changes is True
    return dict(_ChampionProvider().update("wine", props, props | {"canary": trial} | changes).outs or {})


def test_promoted_canary_becomes_the_champion_with_its_reason(url: str) -> None:
    Registry.metrics = {"accuracy": 0.95}
    outs = after_trial(url, ABOVE, PROMOTED)
    assert Registry.moves == ["2"]
    assert (outs["version"], outs["promoted"]) == ("2", "2")
    tags = dict(Registry.recorded)
    assert tags.pop("canary") == "promoted: it met its conditions"
    ((key, value),) = tags.items()
    assert key.startswith("champion.")
    assert json.loads(value)["reason"] == (
        "accuracy 0.95 > baseline 0.9; the canary was promoted, because it met its conditions"
    )


def test_promoted_canary_stays_the_champion_until_a_new_run(url: str) -> None:
    outs = after_trial(url, [], PROMOTED)
    Registry.moves = []
    without = _ChampionProvider().update("wine", outs, outs | {"canary": {}, "gate": ABOVE}).outs or {}
    assert (without["version"], without["promoted"], Registry.moves) == ("2", "2", [])
    newer = _ChampionProvider().update("wine", without, without | {"deployed": "3", "run_id": "wine-2", "gate": []})
    assert (newer.outs or {})["version"] == "3"
    assert (newer.outs or {})["promoted"] == ""


def test_promoted_canary_replaces_a_pinned_champion_as_long_as_the_settings_have_it(url: str) -> None:
    outs = after_trial(url, [], PROMOTED, pinned="1")
    assert (outs["version"], outs["promoted"]) == ("2", "2")
    assert _ChampionProvider().diff("wine", outs, outs).changes is False
    assert (_ChampionProvider().update("wine", outs, outs | {"gate": ABOVE}).outs or {})["version"] == "2"
    without = _ChampionProvider().update("wine", outs, outs | {"canary": {}}).outs or {}
    assert (without["version"], without["promoted"]) == ("1", "")


@pytest.mark.parametrize("pinned", ["", "1"])
def test_promoted_canary_below_the_gate_does_not_become_the_champion(url: str, pinned: str) -> None:
    Registry.metrics = {"accuracy": 0.5}
    outs = after_trial(url, ABOVE, PROMOTED, pinned=pinned)
    assert (Registry.alias, outs["version"], outs["rejected"], outs["promoted"]) == ("1", "1", "2", "")


def test_canary_that_was_taken_back_is_recorded_and_leaves_the_champion(url: str) -> None:
    outs = after_trial(url, [], LOST)
    assert (outs["version"], outs["promoted"]) == ("1", "")
    assert "2" not in Registry.moves
    tags = dict(Registry.recorded)
    assert tags["canary"] == "taken back: errors"
    (value,) = [value for key, value in tags.items() if key.startswith("canary.")]
    assert json.loads(value)["version"] == "2"


def test_ended_trial_is_recorded_once(url: str) -> None:
    outs = after_trial(url, [], LOST)
    Registry.recorded = []
    _ChampionProvider().update("wine", outs, outs | {"gate": ABOVE})
    assert [key for key, _ in Registry.recorded if key.startswith("canary")] == []
