"""Tests of a stack that serves the champions of its registry before its pipelines have run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.errors import UserError
from settings.loading import load_settings
from tests.stand_ins import Answering, answering
from workloads.deploy import deploy
from workloads.runs.adopted_champion import adopted_outputs


class Registry(Answering):
    def do_GET(self) -> None:
        if "registered-models/search" in self.path:
            known = "iris" in self.path
            models = [{"name": "iris", "aliases": [{"alias": "champion", "version": "3"}]}] if known else []
            self.answer(200, {"registered_models": models})
        else:
            self.answer(200, {"model_version": {"name": "iris", "version": "3"}})


@pytest.fixture
def access() -> Iterator[dict[str, str]]:
    with answering(Registry) as url:
        yield {"url": url}


def test_adopted_outputs_are_those_of_the_champion_in_the_registry(access: dict[str, str]) -> None:
    expected = {"version": "3", "decision": "iris version 3 came as champion from a backup"}
    assert adopted_outputs(access, "iris") == expected
    assert adopted_outputs(access, "rent") == {}
    assert adopted_outputs({"url": "http://127.0.0.1:9"}, "") == {}


def test_adopted_outputs_without_a_registry_raise() -> None:
    with pytest.raises(UserError, match="the champion of iris cannot be read"):
        adopted_outputs({"url": "http://127.0.0.1:9"}, "iris")


def test_deploy_with_disabled_workloads_creates_nothing() -> None:
    assert deploy(load_settings("dev", {"workloads:enabled": "false"}), platform=None).outputs == {}
