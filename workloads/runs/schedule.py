"""Pulumi resource for the schedule of a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from mlplatform.engine_config import EngineConfig, engine_inputs, parse_engine_config
from pulumi.dynamic import CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed
from workloads.engines.base import RunState, ScheduleRequest
from workloads.engines.factory import create_scheduling_engine
from workloads.runs.arguments import add_run_parameters
from workloads.runs.resources import CompiledPipeline, PipelineRun, PipelineVersion

COMPARED = ("engine", "pipeline", "version_id", "arguments", "schedule", "secrets", "steps_tracking_url")
"""Inputs that replace the schedule after a change."""


class _PipelineScheduleProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, COMPARED))

    def create(self, props: dict[str, Any]) -> CreateResult:
        _schedule(props)
        return CreateResult(props["pipeline"], props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Report the schedule as deleted if the engine lacks it; keep the state if the engine is unavailable."""
        if props["state"] == RunState.SKIPPED:
            return ReadResult(id_, props)
        try:
            exists = create_scheduling_engine(parse_engine_config(props["engine"])).is_scheduled(props["pipeline"])
        except UserError as error:
            pulumi.log.warn(f"{props['pipeline']}: its schedule was not checked: {error}")
            return ReadResult(id_, props)
        return ReadResult(id_, props) if exists else ReadResult("", {})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        create_scheduling_engine(parse_engine_config(_props["engine"])).unschedule(_props["pipeline"])


class PipelineSchedule(Resource, module="workloads", name="PipelineSchedule"):
    """Schedule of a pipeline version, with the arguments of its run.

    There is no schedule while the run of the stack is skipped because its model has no champion.

    Args:
        schedule: the times of the runs: six fields of cron, in UTC.
        run: the run of the stack. Each scheduled run has the same arguments, but its own id.
        secrets: environment variables of the steps.
        steps_tracking_url: the address of the MLflow server for the steps.

    Raises (as a failed resource):
        UserError: the engine has no scheduler, did not respond, or rejected the schedule.
    """

    def __init__(
        self,
        name: str,
        *,
        engine: EngineConfig[pulumi.Input[str]],
        pipeline: str,
        schedule: str,
        version: PipelineVersion,
        compiled: CompiledPipeline,
        run: PipelineRun,
        secrets: Mapping[str, pulumi.Input[str]],
        steps_tracking_url: pulumi.Input[str],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {
            "engine": engine_inputs(engine),
            "pipeline": pipeline,
            "schedule": schedule,
            "version_id": version.version_id,
            "declared_parameters": compiled.parameters,
            "arguments": run.arguments,
            "state": run.state,
            "secrets": dict(secrets),
            "steps_tracking_url": steps_tracking_url,
        }
        super().__init__(_PipelineScheduleProvider(), name, props, opts)


def _schedule(props: dict[str, Any]) -> None:
    engine = create_scheduling_engine(parse_engine_config(props["engine"]))
    if props["state"] == RunState.SKIPPED:
        engine.unschedule(props["pipeline"])
        return
    arguments = add_run_parameters(
        props["arguments"], props["declared_parameters"], engine.scheduled_run_id, props["steps_tracking_url"]
    )
    engine.schedule(
        ScheduleRequest(
            pipeline=props["pipeline"],
            version_id=props["version_id"],
            cron=props["schedule"],
            arguments=arguments,
            secrets=props["secrets"],
        )
    )
