"""Runs and model versions that a stack, its settings or another stack refer to."""

from __future__ import annotations

from collections.abc import Iterator

from settings.stack import StackSettings
from tools.bootstrap.stacks import stack_names
from tools.cli.backup.stack_state import export_state, resources
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention.deletion_plan import Kept
from tools.cli.retention.tracking_records import TrackingRecords
from tools.cli.written_settings import written_setting
from workloads.runs.lost_result import registered_model

RUN = ":PipelineRun"
"""End of the type of the resource of a run."""


def kept_items(pulumi: Pulumi, settings: StackSettings, records: TrackingRecords) -> Kept:
    """Return the runs and versions that have to stay, whatever the rules say.

    Pulumi would run a pipeline again whose last run or version is missing. A stack that copies the models of this one
    needs all their versions.
    """
    keys: set[str] = set()
    versions = set(_configured_versions(settings))
    for resource in resources(export_state(pulumi)):
        if resource["type"].endswith(RUN):
            outputs = resource.get("outputs") or {}
            if run_id := outputs.get("run_id"):
                keys.add(run_id)
            if version := (outputs.get("outputs") or {}).get("version"):
                versions.add(f"{registered_model(outputs)}/{version}")
    if pulumi.name in _copied_stacks():
        versions |= {version.name for version in records.versions}
    runs = {run.id for run in records.runs if records.keys.get(run.id) in keys}
    return Kept(runs | keys, versions)


def _configured_versions(settings: StackSettings) -> Iterator[str]:
    for name, pipeline in settings.workloads.pipelines.items():
        model = pipeline.model or name
        if pipeline.version is not None:
            yield f"{model}/{pipeline.version}"
        if settings.serving.canary and pipeline.serve and pipeline.port is None:
            yield f"{model}/{settings.serving.canary.version}"


def _copied_stacks() -> set[str]:
    """Return the names of the stacks whose models other stacks of this checkout copy."""
    sources = (written_setting(name, "workloads:models_from") for name in stack_names())
    return {str(source).rpartition("/")[2] for source in sources if source}
