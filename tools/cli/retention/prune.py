"""Deletion of the runs and model versions that `platform:keep` does not keep: `make prune STACK=...`."""

from __future__ import annotations

import argparse
import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from settings.stack import StackSettings
from tools.bootstrap.console import log_message
from tools.cli.audit.audit_entries import record_action
from tools.cli.backup.contents.local_data import stack_folder
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention.deletion_plan import Kept, RunRecord, VersionRecord, outdated_runs, outdated_versions
from tools.cli.retention.references import kept_items
from tools.cli.retention.run_folders import folder_size, run_folders
from tools.cli.retention.tracking_records import TrackingRecords, tracking_records
from workloads.model_transfer.model_transfer import ACCESS


@dataclass(frozen=True)
class RetentionPlan:
    """Items to delete, and the total size in bytes of their files.

    Args:
        versions: versions of models.
        runs: runs in MLflow.
        lost: runs that MLflow does not have, and that have a folder on this computer.
        folders: the folders of these runs.
        size: the size of all files.
    """

    versions: list[VersionRecord]
    runs: list[RunRecord]
    lost: list[RunRecord]
    folders: list[Path]
    size: int

    def lines(self) -> Iterator[str]:
        """Yield a line for each pipeline and each model with items to delete."""
        yield from _run_lines(self.runs, "runs of `{}`")
        yield from _run_lines(self.lost, "folders of runs of `{}` that MLflow does not have")
        for model in sorted({version.model for version in self.versions}):
            numbers = sorted(int(version.version) for version in self.versions if version.model == model)
            yield f"versions of the model `{model}`: {', '.join(map(str, numbers))}"
        if self.runs or self.versions or self.lost:
            yield f"files of {self.size / 1e6:.1f} MB"


def _run_lines(runs: list[RunRecord], items: str) -> Iterator[str]:
    for pipeline, count in sorted(Counter(run.pipeline for run in runs).items()):
        oldest = min(run.started for run in runs if run.pipeline == pipeline)
        yield f"{count} {items.format(pipeline)}, the first of {oldest:%Y-%m-%d}"


def prune(pulumi: Pulumi, arguments: list[str]) -> int:
    """Delete what the settings do not keep, and return the exit code: 1 if folders are left.

    Raises:
        AccessError: the settings have no rule, or the stack is not up.
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
        faults: dict[Path, str] = {}
        if not options.dry_run:
            faults = _delete(plan, records)
            plan = _without(plan, faults)
            if deleted := list(plan.lines()):
                record_action(pulumi.name, outputs, "deleted by platform:keep", pulumi.name, "; ".join(deleted))
    log_message("\n  ".join([f"{verb} by platform:keep:", *(list(plan.lines()) or ["nothing"])]))
    for folder, fault in faults.items():
        log_message(f"Error: {folder} cannot be deleted: {fault}. Delete it, or repair the cause and try again")
    return 1 if faults else 0


def planned_deletions(pulumi: Pulumi) -> list[str]:
    """Return what `prune` would delete now, for a preview; [] without rules or without a running stack."""
    settings = stack_settings(pulumi)
    if settings.platform.keep.runs is None or ACCESS not in (outputs := secret_outputs(pulumi)):
        return []
    with tracking_records(pulumi, outputs) as records:
        return list(retention_plan(pulumi, settings, records).lines())


def retention_plan(pulumi: Pulumi, settings: StackSettings, records: TrackingRecords) -> RetentionPlan:
    """Return what the rules of the settings do not keep."""
    rules, now = settings.platform.keep, datetime.now(UTC)
    kept = kept_items(pulumi, settings, records)
    versions = outdated_versions(records.versions, rules.versions, kept, now)
    remaining = {version.run for version in set(records.versions) - set(versions)}
    kept_runs = Kept({*kept.runs, *remaining}, kept.versions)
    runs = outdated_runs(records.runs, rules.runs, kept_runs, now)
    folder = stack_folder(pulumi.name) / "runs"
    known = set(records.keys.values())
    local = [each for each in run_folders(folder, now) if each.id not in known]
    tracked = {run.id for run in records.runs}
    outdated = outdated_runs([*records.runs, *local], rules.runs, kept_runs, now)
    lost = [each for each in outdated if each.id not in tracked]
    deleted = {run.id for run in runs}
    still_used = {records.keys.get(each) for each in tracked - deleted}
    keys = {records.keys.get(each) for each in deleted} - still_used - {None, ""} | {each.id for each in lost}
    folders = [folder / str(key) for key in keys]
    size = sum(records.size(run) for run in runs) + sum(map(folder_size, folders))
    return RetentionPlan(versions, runs, lost, folders, size)


def _delete(plan: RetentionPlan, records: TrackingRecords) -> dict[Path, str]:
    """Delete the items of a plan, and return the folders that are left, each with its fault."""
    records.delete(plan.versions, plan.runs)
    faults = {}
    for folder in plan.folders:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if folder.exists():  # another computer may have it
                faults[folder] = str(error)
    return faults


def _without(plan: RetentionPlan, left: Collection[Path]) -> RetentionPlan:
    """Return a plan without folders that are left."""
    names = {folder.name for folder in left}
    lost = [each for each in plan.lost if each.id not in names]
    return replace(plan, lost=lost, size=plan.size - sum(map(folder_size, left)))
