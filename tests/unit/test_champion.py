"""Who is champion, as a registry answers that."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from infra.dynamic_provider import UserError
from tests.stand_ins import Answering, answering
from workloads.serving.champion import _ChampionProvider

KNOWN = {"version": "3", "sha256": "abc", "accuracy": 0.9}


class Registry(Answering):
    """MLflow's answer to who asks for an alias."""

    status = 200
    tags: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        tags = [{"key": key, "value": value} for key, value in type(self).tags.items()]
        self.answer(type(self).status, {"model_version": {"version": "4", "tags": tags}})


@pytest.fixture
def props() -> Iterator[dict[str, Any]]:
    Registry.status, Registry.tags = 200, {"sha256": "def", "accuracy": "0.95"}
    with answering(Registry) as url:
        yield {"tracking_url": url, "model": "iris", "pinned": "", "deployed": "", **KNOWN}


def found(props: dict[str, Any]) -> dict[str, Any]:
    outs = _ChampionProvider().read("iris", props).outs or {}
    return {name: outs[name] for name in KNOWN}


def test_an_alias_that_was_moved_is_followed(props: dict[str, Any]) -> None:
    assert found(props) == {"version": "4", "sha256": "def", "accuracy": 0.95}


def test_an_alias_that_was_taken_away_is_nobodys(props: dict[str, Any]) -> None:
    Registry.status = 404
    assert found(props) == {"version": "", "sha256": "", "accuracy": 0.0}


def test_a_registry_that_does_not_answer_is_no_reason_to_forget(props: dict[str, Any]) -> None:
    Registry.status = 503
    assert found(props) == KNOWN
    assert found(props | {"tracking_url": "http://127.0.0.1:1"}) == KNOWN


def test_a_champion_that_somebody_registered_by_hand_is_told(props: dict[str, Any]) -> None:
    Registry.tags = {}
    for ask in (lambda: found(props), lambda: _ChampionProvider().create(props)):
        with pytest.raises(UserError, match="version 4 of the model iris has the alias champion, and no pipeline"):
            ask()
