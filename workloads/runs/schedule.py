"""A pipeline that runs by itself, as a Pulumi resource."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, any_changed
from workloads.engines.kubeflow.kubeflow_engine import OWN_RUN_ID, KubeflowEngine
from workloads.runs.resources import CompiledPipeline, PipelineRun, PipelineVersion, with_own


class _PipelineScheduleProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(
            changes=any_changed(
                _olds,
                _news,
                ("engine", "pipeline", "version_id", "arguments", "schedule", "secrets", "steps_tracking_url"),
            )
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        _schedule(props)
        return CreateResult(props["pipeline"], props)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self.create(_news).outs)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        KubeflowEngine(_props["engine"]).unschedule(_props["pipeline"])


class PipelineSchedule(Resource, module="workloads", name="PipelineSchedule"):
    """Runs of a pipeline version that Kubeflow Pipelines begins by itself, with the arguments of its run.

    A run of which the platform skipped the first, for want of a model, is not scheduled either.

    Args:
        schedule: when, in cron's six fields, in UTC.
        run: whose arguments it has; in the place of that run's id it gets its own in Kubeflow Pipelines.
        secrets: environment variables of the steps.
        steps_tracking_url: where the steps find the tracking server.

    Raises (as a failed resource):
        UserError: Kubeflow Pipelines cannot be used, or refuses.
    """

    def __init__(
        self,
        name: str,
        *,
        engine: Mapping[str, pulumi.Input[str]],
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
            "engine": dict(engine),
            "pipeline": pipeline,
            "schedule": schedule,
            "version_id": version.version_id,
            "package": compiled.package,
            "arguments": run.arguments,
            "state": run.state,
            "secrets": dict(secrets),
            "steps_tracking_url": steps_tracking_url,
        }
        super().__init__(_PipelineScheduleProvider(), name, props, opts)


def _schedule(props: dict[str, Any]) -> None:
    kubeflow, pipeline = KubeflowEngine(props["engine"]), props["pipeline"]
    if props["state"] == "SKIPPED":
        kubeflow.unschedule(pipeline)
        return
    arguments = with_own(props["arguments"], props["package"], OWN_RUN_ID, props["steps_tracking_url"])
    kubeflow.schedule(pipeline, props["version_id"], arguments, props["schedule"], props["secrets"])
