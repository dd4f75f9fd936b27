"""A schedule as a resource of a stack."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine
from workloads.runs.compile import compiled
from workloads.runs.schedule import _PipelineScheduleProvider

from .stand_in import StandIn

PROVIDER = _PipelineScheduleProvider()


@pytest.fixture
def props(kubeflow: KubeflowEngine, properties: dict[str, str]) -> dict[str, Any]:
    package = compiled("iris-external", "registry.example/workloads:1", 0)
    return {
        "engine": properties,
        "pipeline": "iris-external",
        "schedule": "0 30 2 * * 1-5",
        "version_id": kubeflow.upload("iris-external", "abc", package, [], 60),
        "package": package,
        "arguments": {"baseline": 0.7},
        "state": "SUCCEEDED",
        "secrets": {"AZURE_STORAGE_KEY": "c2VjcmV0"},
        "steps_tracking_url": "http://mlflow",
    }


def test_its_runs_have_the_arguments_of_the_run_and_an_id_of_their_own(it: StandIn, props: dict[str, Any]) -> None:
    PROVIDER.create(props)
    (there,) = it.find("recurringruns")
    own = {"run_key": "{{workflow.uid}}", "tracking_url": "http://mlflow"}
    assert there["runtime_config"]["parameters"] == {"baseline": 0.7, **own}
    PROVIDER.delete("iris-external", props)
    assert it.find("recurringruns") == []


def test_a_change_replaces_it_and_a_run_that_was_skipped_ends_it(it: StandIn, props: dict[str, Any]) -> None:
    PROVIDER.create(props)
    changed = props | {"schedule": "0 0 4 * * *", "secrets": {"AZURE_STORAGE_KEY": "bmV3"}}
    assert PROVIDER.diff("iris-external", props, changed).changes
    assert not PROVIDER.diff("iris-external", props, props | {"package": "with another comment"}).changes
    PROVIDER.update("iris-external", props, changed)
    (there,) = it.find("recurringruns")
    assert there["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * *"}}
    assert it.objects["secrets/pipeline-steps"]["stringData"] == {"AZURE_STORAGE_KEY": "bmV3"}
    PROVIDER.update("iris-external", changed, changed | {"state": "SKIPPED"})
    assert it.find("recurringruns") == []
