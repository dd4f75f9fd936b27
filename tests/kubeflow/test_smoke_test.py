"""The run that shows whether an engine runs anything."""

from __future__ import annotations

from typing import Any

import pytest

from infra.dynamic import Failure
from workloads.engines.kubeflow.engine import KubeflowEngine
from workloads.smoke_test import NAME, _SmokeTestProvider

from .executions import Laid
from .stand_in import StandIn

PROVIDER = _SmokeTestProvider()


@pytest.fixture
def props(kubeflow: KubeflowEngine, properties: dict[str, str]) -> dict[str, Any]:
    return {"engine": properties, "image": "registry.example/workloads:1", "version_id": None}


def laid(it: StandIn, step: str, run: str) -> None:
    made = Laid()
    made.step("nothing", made.dag(), step)
    it.executions, it.events, it.states = made.executions, made.events, [run]


def test_a_run_that_ends_well_is_all_it_takes(it: StandIn, props: dict[str, Any]) -> None:
    laid(it, "COMPLETE", "SUCCEEDED")
    made = PROVIDER.create(props).outs
    assert made
    assert len(it.find("runs")) == 1
    assert not PROVIDER.diff(NAME, made, made | {"version_id": None}).changes
    assert PROVIDER.diff(NAME, made, made | {"image": "registry.example/workloads:2"}).changes
    PROVIDER.update(NAME, made, made)
    assert len(it.find("runs")) == 2  # how the first one ended says nothing of today
    PROVIDER.delete(NAME, made)
    assert it.find("versions") == []


def test_a_run_that_fails_fails_the_stack_before_any_pipeline_of_use(it: StandIn, props: dict[str, Any]) -> None:
    laid(it, "FAILED", "FAILED")
    with pytest.raises(Failure, match="pipelines cannot be run: one whose step does nothing failed:\n  the run is F"):
        PROVIDER.create(props)
