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

RECURRING_RUNS = "/apis/v2beta1/recurringruns"
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


def test_schedule_update_that_the_server_rejects_keeps_the_old_schedule(
    backend: StandIn, props: dict[str, Any]
) -> None:
    PROVIDER.create(props)
    (before,) = backend.find("recurringruns")
    backend.statuses["POST", RECURRING_RUNS] = [400]
    with pytest.raises(UserError, match="returned 400"):
        PROVIDER.update("iris-external", props, props | {"schedule": "0 0 4 * * *"})
    assert backend.find("recurringruns") == [before]


def test_schedule_update_with_a_lost_response_creates_one_schedule(backend: StandIn, props: dict[str, Any]) -> None:
    PROVIDER.create(props)
    (before,) = backend.find("recurringruns")

    class LostResponse(list[int]):
        """A status of the stand-in that creates a schedule first."""

        def pop(self, _: Any = 0) -> int:
            backend.store("recurringruns", {**before, "trigger": {"cron_schedule": {"cron": "0 0 4 * * *"}}})
            return super().pop()

    backend.statuses["POST", RECURRING_RUNS] = LostResponse([503])
    PROVIDER.update("iris-external", props, props | {"schedule": "0 0 4 * * *"})
    (stored,) = backend.find("recurringruns")
    assert stored["trigger"] == {"cron_schedule": {"cron": "0 0 4 * * *"}}


def test_schedule_read_reports_a_missing_schedule_as_deleted(backend: StandIn, props: dict[str, Any]) -> None:
    skipped = props | {"state": "SKIPPED"}
    assert PROVIDER.read("iris-external", skipped).id == "iris-external"
    assert not PROVIDER.read("iris-external", props).id
    assert backend.find("experiments") == []
    PROVIDER.create(props)
    assert PROVIDER.read("iris-external", props).outs == props
    backend.store("recurringruns", backend.find("recurringruns")[0])  # as an `up` that was killed leaves it
    assert not PROVIDER.read("iris-external", props).id
    PROVIDER.create(props)
    assert len(backend.find("recurringruns")) == 1
    backend.resources["recurringruns"].clear()
    assert not PROVIDER.read("iris-external", props).id


def test_schedule_read_with_an_error_of_the_server_keeps_the_schedule(backend: StandIn, props: dict[str, Any]) -> None:
    PROVIDER.create(props)
    backend.statuses["GET", RECURRING_RUNS] = [500, 400]
    assert PROVIDER.read("iris-external", props).outs == props


def test_schedule_create_with_an_engine_without_scheduler_is_refused(props: dict[str, Any]) -> None:
    engine = engine_inputs(EmbeddedEngineConfig("unused"))
    with pytest.raises(UserError, match="the pipeline engine embedded has no scheduler; set platform:pipelines"):
        PROVIDER.create(props | {"engine": engine})
