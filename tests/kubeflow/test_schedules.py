"""Provider of the resource PipelineSchedule."""

from __future__ import annotations

from typing import Any

import pytest
from mlplatform.engine_config import EmbeddedEngineConfig, KubeflowEngineConfig, engine_inputs

from infra.dynamic_provider import UserError
from workloads.engines.kubeflow.kubeflow_engine import KubeflowEngine
from workloads.runs.compile import compile_pipeline
from workloads.runs.schedule import _PipelineScheduleProvider

from .stand_in import StandIn

PROVIDER = _PipelineScheduleProvider()


@pytest.fixture
def props(kubeflow: KubeflowEngine, config: KubeflowEngineConfig[str]) -> dict[str, Any]:
    package = compile_pipeline("iris-external", "registry.example/workloads:1", 0)
    return {
        "engine": engine_inputs(config),
        "pipeline": "iris-external",
        "schedule": "0 30 2 * * 1-5",
        "version_id": kubeflow.upload("iris-external", "abc", package.ir, [], 60),
        "declared_parameters": package.parameters,
        "arguments": {"baseline": 0.7},
        "state": "SUCCEEDED",
        "secrets": {"AZURE_STORAGE_SAS_TOKEN": "c2VjcmV0"},
        "steps_tracking_url": "http://mlflow",
    }


def test_schedule_create_uses_the_arguments_of_the_run_with_a_new_run_id(
    backend: StandIn, props: dict[str, Any]
) -> None:
    PROVIDER.create(props)
    (stored,) = backend.find("recurringruns")
    own = {"run_key": "{{workflow.uid}}", "tracking_url": "http://mlflow"}
    assert stored["runtime_config"]["parameters"] == {"baseline": 0.7, **own}
    PROVIDER.delete("iris-external", props)
    assert backend.find("recurringruns") == []


def test_schedule_update_replaces_the_schedule_and_a_skipped_run_deletes_it(
    backend: StandIn, props: dict[str, Any]
) -> None:
    PROVIDER.create(props)
    changed = props | {"schedule": "0 0 4 * * *", "secrets": {"AZURE_STORAGE_SAS_TOKEN": "bmV3"}}
    assert PROVIDER.diff("iris-external", props, changed).changes
    assert not PROVIDER.diff("iris-external", props, props | {"declared_parameters": {}}).changes
    PROVIDER.update("iris-external", props, changed)
    (stored,) = backend.find("recurringruns")
    assert stored["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * *"}}
    assert backend.objects["secrets/pipeline-steps"]["stringData"] == {"AZURE_STORAGE_SAS_TOKEN": "bmV3"}
    PROVIDER.update("iris-external", changed, changed | {"state": "SKIPPED"})
    assert backend.find("recurringruns") == []


def test_schedule_create_with_an_engine_without_scheduler_is_refused(props: dict[str, Any]) -> None:
    engine = engine_inputs(EmbeddedEngineConfig("unused"))
    with pytest.raises(UserError, match="the pipeline engine embedded has no scheduler; set platform:pipelines"):
        PROVIDER.create(props | {"engine": engine})
