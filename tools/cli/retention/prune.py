"""Deletion of the runs and model versions that `platform:keep` does not keep: `make prune STACK=...`."""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from settings.stack import StackSettings
from tools.bootstrap.console import log_message
from tools.cli.audit.audit_entries import record_action
from tools.cli.backup.contents.local_data import stack_folder
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention.deletion_plan import Kept, RunRecord, VersionRecord, outdated_runs, outdated_versions
from tools.cli.retention.references import kept_items
from tools.cli.retention.tracking_records import TrackingRecords, tracking_records


@dataclass(frozen=True)
class RetentionPlan:
    """Items to delete, and the total size in bytes of their files."""

    versions: list[VersionRecord]
    runs: list[RunRecord]
    size: int

    def lines(self) -> Iterator[str]:
        """Yield a line for each pipeline and each model with items to delete."""
        for pipeline, count in sorted(Counter(run.pipeline for run in self.runs).items()):
            oldest = min(run.started for run in self.runs if run.pipeline == pipeline)
            yield f"{count} runs of `{pipeline}`, the first of {oldest:%Y-%m-%d}"
        for model in sorted({version.model for version in self.versions}):
            numbers = sorted(int(version.version) for version in self.versions if version.model == model)
            yield f"versions of the model `{model}`: {', '.join(map(str, numbers))}"
        if self.runs or self.versions:
            yield f"files of {self.size / 1e6:.1f} MB"


def prune(pulumi: Pulumi, arguments: list[str]) -> int:
    """Delete what the settings do not keep, and return the exit code.

    Raises:
        AccessError: the settings have no rule.
    """
    parser = argparse.ArgumentParser(prog="make prune", allow_abbrev=False)
    parser.add_argument("--dry-run", action="store_true", help="list the items and delete none")
    options = parser.parse_args(arguments)
    settings = stack_settings(pulumi)
    if settings.platform.keep.runs is None:
        raise AccessError(
            f"the stack {pulumi.stack} keeps everything: set platform:keep.runs to delete old runs, see docs/backup.md"
        )
    outputs = secret_outputs(pulumi)
    with tracking_records(pulumi, outputs) as records:
        plan = retention_plan(pulumi, settings, records)
        verb = "Would be deleted" if options.dry_run else "Deleted"
        if not options.dry_run:
            _delete(pulumi, plan, records)
            if deleted := list(plan.lines()):
                record_action(pulumi.name, outputs, "deleted by platform:keep", pulumi.name, "; ".join(deleted))
    log_message("\n  ".join([f"{verb} by platform:keep:", *(list(plan.lines()) or ["nothing"])]))
    return 0


def planned_deletions(pulumi: Pulumi) -> list[str]:
    """Return what `prune` would delete now, for a preview; [] without rules or without a running stack."""
    settings = stack_settings(pulumi)
    if settings.platform.keep.runs is None or not (outputs := secret_outputs(pulumi)):
        return []
    with tracking_records(pulumi, outputs) as records:
        return list(retention_plan(pulumi, settings, records).lines())


def retention_plan(pulumi: Pulumi, settings: StackSettings, records: TrackingRecords) -> RetentionPlan:
    """Return what the rules of the settings do not keep."""
    rules, now = settings.platform.keep, datetime.now(UTC)
    kept = kept_items(pulumi, settings, records)
    versions = outdated_versions(records.versions, rules.versions, kept, now)
    remaining = {version.run for version in records.versions if version not in versions}
    runs = outdated_runs(records.runs, rules.runs, Kept({*kept.runs, *remaining}, kept.versions), now)
    return RetentionPlan(versions, runs, sum(records.size(run) for run in runs))


def _delete(pulumi: Pulumi, plan: RetentionPlan, records: TrackingRecords) -> None:
    records.delete(plan.versions, plan.runs)
    deleted = {run.id for run in plan.runs}
    still_used = {records.keys.get(run.id) for run in records.runs if run.id not in deleted}
    for key in {records.keys.get(run) for run in deleted} - still_used - {None, ""}:
        shutil.rmtree(stack_folder(pulumi.name) / "runs" / str(key), ignore_errors=True)
