"""Restore of a stack from a backup: `make restore STACK=... FROM=...`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.bootstrap.console import log_message, step
from tools.cli.audit.audit_entries import record_action
from tools.cli.backup.chosen_backup import add_source_options, backup_list, chosen_repository
from tools.cli.backup.contents.bucket_copy import require_objects
from tools.cli.backup.contents.cluster_data import (
    AUDIT_ENTRIES,
    CONTENT,
    add_audit_entries,
    replace_cluster_data,
)
from tools.cli.backup.contents.container_copy import container_folder, require_containers, upload_container
from tools.cli.backup.contents.etcd_copy import ETCD, SNAPSHOT
from tools.cli.backup.contents.external_stores import restore_external_data
from tools.cli.backup.contents.kubeflow_data import FOLDER as KUBEFLOW
from tools.cli.backup.contents.kubeflow_data import kubeflow_data
from tools.cli.backup.contents.local_data import (
    new_kept_folder,
    replace_local_data,
    scratch_folder,
    stack_folder,
    stop_local_mlflow,
)
from tools.cli.backup.errors import BackupError
from tools.cli.backup.losses import MANIFEST
from tools.cli.backup.lost_volume import replace_lost_volume
from tools.cli.backup.records import stack_lock
from tools.cli.backup.restic_repository import DATA, STATE, BackupRepository, SavedStack, Snapshot
from tools.cli.backup.stack_state import (
    container_logins,
    export_state,
    import_state,
    resources,
    stack_settings,
    write_config_copy,
)
from tools.cli.backup.unfinished_restore import ADOPT, has_data, is_unfinished
from tools.cli.cluster_access import secret_outputs
from tools.cli.pulumi_command import Pulumi

Up = Callable[[Pulumi, Sequence[str]], int]
"""Function that runs `up` on a stack, with options of Pulumi, and returns its exit code."""


def restore(pulumi: Pulumi, arguments: list[str], up: Up) -> int:
    """Restore a stack from a backup and return the exit code: its data, or with `--part` another part.

    Raises:
        BackupError: there is no such backup, the stack has data and `--overwrite` is not given, or a backup or another
            restore of it runs.
        StackBusy: another Pulumi is working on the stack.
    """
    parser = argparse.ArgumentParser(prog="make restore", allow_abbrev=False)
    add_source_options(parser, pulumi.stack)
    parser.add_argument("--list", action="store_true", help="list the backups of the stack, and restore none")
    parser.add_argument("--part", choices=(DATA, STATE, ETCD, KUBEFLOW), default=DATA)
    parser.add_argument("--overwrite", action="store_true", help="replace data that exist, and keep them beside")
    parser.add_argument("--new-volume", action="store_true", help="replace MLflow's lost volume in a cluster first")
    options = parser.parse_args([each for each in arguments if each])
    if options.list:
        pulumi.output("stack", "select", "--create")
        repository, original = chosen_repository(pulumi, options)
        for line in backup_list(repository, original.name):
            print(line)
        return 0
    with stack_lock(pulumi.name):
        pulumi.select("--create")
        return _restore_part(pulumi, options, up)


def _restore_part(pulumi: Pulumi, options: argparse.Namespace, up: Up) -> int:
    repository, original = chosen_repository(pulumi, options)
    if options.part == STATE:
        snapshot = repository.latest(original, STATE, options.at)
        import_state(pulumi, json.loads(repository.read_file(snapshot, f"{STATE}.json")))
        _record(pulumi, f"state of {original.name}")
        log_message(f"The state of {snapshot.time:%Y-%m-%d %H:%M} UTC is restored. Next: make up STACK={pulumi.stack}")
        return 0
    if options.part == ETCD:
        return _write_etcd(repository.latest(original, DATA, options.at), repository, stack_folder(pulumi.name))
    if options.part == KUBEFLOW:
        replace_kubeflow_data(pulumi, repository, original, overwrite=options.overwrite, at=options.at)
        _record(pulumi, f"Kubeflow Pipelines of {original.name}")
        return 0
    if options.new_volume:
        _replace_volume(pulumi)
    code, _ = restore_data(pulumi, repository, original, overwrite=options.overwrite, up=up, at=options.at)
    if code == 0:
        _record(pulumi, f"data of {original.name}")
    return code


def _record(pulumi: Pulumi, source: str) -> None:
    record_action(pulumi.name, secret_outputs(pulumi), "restored", pulumi.name, source)


def _replace_volume(pulumi: Pulumi) -> None:
    kubeconfig = secret_outputs(pulumi).get("kubeconfig")
    if not kubeconfig:
        raise BackupError(f"--new-volume: the stack {pulumi.stack} has no cluster; remove --new-volume")
    with step("Replacing the volume of MLflow"):
        replace_lost_volume(kubeconfig)


def replace_kubeflow_data(
    pulumi: Pulumi, repository: BackupRepository, original: SavedStack, *, overwrite: bool, at: datetime | None = None
) -> None:
    """Replace the data of Kubeflow Pipelines of a running stack by the newest ones, or by those of the time `at`.

    Raises:
        BackupError: the stack or the backup has no Kubeflow Pipelines, or there are runs and `overwrite` is False.
    """
    data = kubeflow_data(stack_settings(pulumi), secret_outputs(pulumi))
    if data is None:
        raise BackupError(
            f"--part {KUBEFLOW}: the stack {pulumi.stack} has no running Kubeflow Pipelines; set platform:pipelines: "
            f"kubeflow and run `make up STACK={pulumi.stack}`"
        )
    if not overwrite and data.has_runs():
        raise BackupError(
            f"Kubeflow Pipelines of the stack {pulumi.stack} has runs already; add OVERWRITE=yes, which keeps its "
            "databases of before as dumps"
        )
    snapshot = repository.latest(original, DATA, at)
    kept = new_kept_folder(pulumi.name)
    with scratch_folder(pulumi.name, "restore") as folder:
        with step(f"Reading the backup of stack {original.name} of {snapshot.time:%Y-%m-%d %H:%M} UTC"):
            repository.restore(snapshot, folder, only=(KUBEFLOW, MANIFEST))
        require_objects(folder, json.loads((folder / MANIFEST).read_text()), KUBEFLOW)
        if not (folder / KUBEFLOW).is_dir():
            raise BackupError(f"the backup of stack {original.name} has no data of Kubeflow Pipelines")
        with step("Writing the data to Kubeflow Pipelines"):
            data.replace(folder, kept)
    log_message(f"The databases of before are in {kept}; delete them when you do not need them any more.")


def _write_etcd(snapshot: Snapshot, repository: BackupRepository, folder: Path) -> int:
    """Write etcd and the keys of a backup below a folder; an administrator replaces etcd by hand."""
    repository.restore(snapshot, folder, only=(ETCD,))
    if not (folder / ETCD / SNAPSHOT).exists():
        raise BackupError(f"the backup of stack {snapshot.stack} has no etcd: its stack had no machines")
    log_message(f"etcd of {snapshot.time:%Y-%m-%d %H:%M} UTC is in {folder / ETCD}. To restore it, see docs/operate.md")
    return 0


def restore_data(
    pulumi: Pulumi,
    repository: BackupRepository,
    original: SavedStack,
    *,
    overwrite: bool,
    up: Up,
    at: datetime | None = None,
) -> tuple[int, dict[str, Any]]:
    """Bring up a stack with the newest data of the stack `original`, or with those of the time `at`.

    Returns:
        The exit code of `up`, and the manifest of the backup.

    Raises:
        BackupError: the stack has data, and `overwrite` is False.
    """
    if not overwrite and has_data(pulumi):
        raise BackupError(
            f"MLflow of the stack {pulumi.stack} has data already; choose a new stack, or add OVERWRITE=yes, which "
            "moves these data aside"
        )
    snapshot = repository.latest(original, DATA, at)
    with scratch_folder(pulumi.name, "restore") as folder:
        with step(f"Reading the backup of stack {original.name} of {snapshot.time:%Y-%m-%d %H:%M} UTC"):
            repository.restore(snapshot, folder)
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
        require_objects(folder, manifest)
        return _load(pulumi, folder, up), manifest


def _load(pulumi: Pulumi, folder: Path, up: Up) -> int:
    """Put the data of a backup into the services of a stack, then start its workloads."""
    settings = stack_settings(pulumi)
    in_cluster = settings.infra.cluster != "none"
    services_first = _lacks_services(pulumi, in_cluster=in_cluster)
    if not services_first:
        require_containers(folder, container_logins(export_state(pulumi)))
    stop_local_mlflow(pulumi.name)
    kept = new_kept_folder(pulumi.name)
    restore_external_data(settings.platform.tracking, folder / CONTENT, kept)
    if not in_cluster and (before := replace_local_data(pulumi.name, folder, kept)):
        log_message(f"The data of before are in {before}; delete them when you do not need them any more.")
    if services_first:
        # Pipelines may read the container in their first run. Therefore the services come first, then the data.
        pulumi.output("config", "set", ADOPT, "true")
        services_only = folder / "services-only.yaml"
        write_config_copy(pulumi, services_only, "workloads:enabled", "false")
        if code := up(pulumi, ["--config-file", str(services_only)]):
            return code
        require_containers(folder, container_logins(export_state(pulumi)))
    if in_cluster:
        with step("Writing the data to MLflow in the cluster"):
            outputs = secret_outputs(pulumi)
            replace_cluster_data(outputs["kubeconfig"], folder)
            if "door_url" in outputs and (folder / AUDIT_ENTRIES).exists():
                add_audit_entries(outputs["kubeconfig"], folder)
    for team, login in container_logins(export_state(pulumi)).items():
        upload_container(login, container_folder(folder, team))
    code = up(pulumi, [])
    if code == 0 and is_unfinished(pulumi):
        pulumi.output("config", "rm", ADOPT)
    return code


def _lacks_services(pulumi: Pulumi, *, in_cluster: bool) -> bool:
    """Return True for a new stack, and for one whose services may be missing because an earlier `up` failed."""
    if not resources(export_state(pulumi)) or is_unfinished(pulumi):
        return True
    return in_cluster and "kubeconfig" not in secret_outputs(pulumi)
