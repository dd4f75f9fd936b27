"""Champion of a model, by the responses of a registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from infra.dynamic_provider import UserError
from tests.stand_ins import Answering, answering
from workloads.serving.champion import _ChampionProvider

KNOWN = {"version": "3", "sha256": "abc", "accuracy": 0.9}


class Registry(Answering):
    """Stand-in for the model registry of MLflow."""

    status = 200
    tags: ClassVar[dict[str, str]] = {}

    def do_GET(self) -> None:
        tags = [{"key": key, "value": value} for key, value in type(self).tags.items()]
        self.answer(type(self).status, {"model_version": {"version": "4", "tags": tags}})


@pytest.fixture
def props() -> Iterator[dict[str, Any]]:
    Registry.status, Registry.tags = 200, {"sha256": "def", "accuracy": "0.95"}
    with answering(Registry) as url:
        yield {"access": {"url": url}, "model": "iris", "pinned": "", "deployed": "", **KNOWN}


def read(props: dict[str, Any]) -> dict[str, Any]:
    outs = _ChampionProvider().read("iris", props).outs or {}
    return {name: outs[name] for name in KNOWN}


def test_read_after_a_moved_alias_returns_the_new_version(props: dict[str, Any]) -> None:
    assert read(props) == {"version": "4", "sha256": "def", "accuracy": 0.95}


def test_read_without_an_alias_returns_no_version(props: dict[str, Any]) -> None:
    Registry.status = 404
    assert read(props) == {"version": "", "sha256": "", "accuracy": 0.0}


def test_read_from_an_unavailable_registry_keeps_the_version(props: dict[str, Any]) -> None:
    Registry.status = 503
    assert read(props) == KNOWN
    assert read(props | {"access": {"url": "http://127.0.0.1:1"}}) == KNOWN


def test_read_and_create_with_a_manually_registered_champion_raise(props: dict[str, Any]) -> None:
    Registry.tags = {}
    for call in (lambda: read(props), lambda: _ChampionProvider().create(props)):
        with pytest.raises(
            UserError,
            match="version 4 of the model iris has the alias champion, but lacks the tags sha256 and "
            "accuracy: no pipeline",
        ):
            call()
