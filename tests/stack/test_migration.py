"""Stack that takes over the models of another stack: same predictions, no training before a change."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import requests

from tests.harness import Stack, changes, touched

EXTERNAL = "iris-external"
RANGES = {
    "sepal_length": (4.3, 5.8, 7.9),
    "sepal_width": (2.0, 3.0, 4.4),
    "petal_length": (1.0, 4.3, 6.9),
    "petal_width": (0.1, 1.3, 2.5),
}
GRID = [dict(zip(RANGES, values, strict=True)) for values in itertools.product(*RANGES.values())]


def predictions(stack: Stack) -> Any:
    """Return classes and probabilities for the grid."""
    answer = requests.post(stack.outputs()["score_url"], json=GRID, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


@pytest.fixture(scope="module")
def old(make_stack: Callable[..., Stack]) -> Stack:
    """Return a stack whose champion is the second of two versions."""
    stack = make_stack("old")
    for unneeded in ("iris-local", "batch-predict"):
        del stack.settings["workloads:pipelines"][unneeded]
    for trees in (20, 10):
        stack.settings["workloads:pipelines"][EXTERNAL]["parameters"]["trees"] = trees
        stack.up()
    assert stack.outputs()["model"]["version"] == "2"
    return stack


@pytest.fixture(scope="module")
def new(make_stack: Callable[..., Stack], old: Stack) -> Stack:
    """Return another stack with the same workloads and a pipeline that trains no model."""
    stack = make_stack("new", beside=old)
    pipelines = copy.deepcopy(old.settings["workloads:pipelines"])
    pipelines["batch-predict"] = stack.settings["workloads:pipelines"]["batch-predict"]
    stack.settings["workloads:pipelines"] = pipelines
    stack.settings["workloads:models_from"] = old.name
    return stack


def test_preview_with_models_from_a_missing_stack_or_itself_is_refused(new: Stack) -> None:
    right = new.settings["workloads:models_from"]
    for wrong, said in ((new.name, "is this stack itself"), ("nobody", "nobody"), ("a b", "workloads:models_from")):
        new.settings["workloads:models_from"] = wrong
        code, output = new.pulumi("preview")
        assert code != 0
        assert said in output
    new.settings["workloads:models_from"] = right


def test_first_up_with_models_from_serves_the_same_predictions_without_training(old: Stack, new: Stack) -> None:
    before = predictions(old)
    new.up()
    assert predictions(new) == before
    outputs = new.outputs()
    assert outputs["model"] == old.outputs()["model"]
    assert outputs["iris_external"]["state"] == "INHERITED"
    assert outputs["iris_external"]["decision"] == "iris version 2 came as champion from another stack"
    # A pipeline that trains no model runs here.
    assert outputs["batch_predict"]["state"] == "SUCCEEDED"
    assert outputs["batch_predict"]["rows"] == 150


def test_second_up_with_models_from_changes_nothing(new: Stack) -> None:
    assert set(changes(new.up())) == {"unchanged"}


def test_rollback_to_a_copied_version_serves_it(old: Stack, new: Stack) -> None:
    del new.settings["workloads:pipelines"]["batch-predict"]  # each other champion would run it again
    external = new.settings["workloads:pipelines"][EXTERNAL]
    external["version"] = 1
    new.up()
    assert new.outputs()["model"]["version"] == "1"
    del external["version"]
    new.up()
    assert predictions(new) == predictions(old)


def test_up_after_destroy_of_the_old_stack_serves_the_same_predictions(old: Stack, new: Stack) -> None:
    before = predictions(old)
    code, output = old.pulumi("destroy", "--yes")
    assert code == 0, output
    assert predictions(new) == before
    # First with the setting and the state of the old stack, then without the setting.
    assert set(changes(new.up())) == {"unchanged"}
    del new.settings["workloads:models_from"]
    output = new.up()
    assert changes(output)["deleted"] == 1
    assert set(changes(output)) == {"unchanged", "deleted"}
    assert predictions(new) == before


def test_up_with_a_changed_parameter_trains_a_new_version(new: Stack) -> None:
    new.settings["workloads:pipelines"][EXTERNAL]["parameters"]["trees"] = 30
    assert {"iris-external-run", "iris-champion"} <= touched(new.up())
    outputs = new.outputs()
    assert outputs["iris_external"]["state"] == "SUCCEEDED"
    assert outputs["model"]["version"] == "3"
