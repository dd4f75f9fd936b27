"""Backup of a stack: `make backup STACK=...`."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from settings.stack import StackSettings
from tools.bootstrap.console import log_message, step
from tools.cli.backup.contents.bucket_copy import OBJECTS
from tools.cli.backup.contents.cluster_data import CONTENT, copy_audit_log, copy_cluster_data
from tools.cli.backup.contents.container_copy import container_folder, download_container
from tools.cli.backup.contents.etcd_copy import copy_etcd
from tools.cli.backup.contents.external_stores import copy_external_data
from tools.cli.backup.contents.kubeflow_data import kubeflow_data
from tools.cli.backup.contents.local_data import copy_local_data, has_local_data, scratch_folder, stack_folder
from tools.cli.backup.errors import BackupError, RepositoryLocked
from tools.cli.backup.fingerprint import take_fingerprint, unchanged_records
from tools.cli.backup.known_repository import open_repository
from tools.cli.backup.losses import MANIFEST, require_no_loss
from tools.cli.backup.records import BACKUP, record_success, renew_lease, stack_lock
from tools.cli.backup.restic_repository import BackupRepository, configured_repository
from tools.cli.backup.stack_identity import saved_stack
from tools.cli.backup.stack_state import container_logins, export_state, pulumi_config, resources, stack_settings
from tools.cli.cluster_access import secret_outputs, tracking_output
from tools.cli.pulumi_command import Pulumi


def backup(pulumi: Pulumi, arguments: list[str]) -> int:
    """Save data and state of a running stack, delete outdated backups, and return the exit code.

    Raises:
        AccessError: the stack is not up.
        BackupError: the stack has no settings for backups or no resources, or a part of it cannot be read. Or the
            stack lost what its last backup has, or another backup or a restore of it runs.
    """
    parser = argparse.ArgumentParser(prog="make backup", allow_abbrev=False)
    parser.add_argument("--accept-loss", action="store_true", help="save a stack without data that its last backup has")
    options = parser.parse_args(arguments)
    with stack_lock(pulumi.name):
        return _save(pulumi, accept_loss=options.accept_loss)


def _save(pulumi: Pulumi, *, accept_loss: bool) -> int:
    settings = stack_settings(pulumi)
    repository = required_repository(pulumi.stack, settings)
    state = export_state(pulumi)
    if not resources(state):
        raise BackupError(f"the stack {pulumi.stack} has nothing to back up; run `make up STACK={pulumi.stack}` first")
    outputs = secret_outputs(pulumi)
    tracking_output(outputs, pulumi.stack)
    open_repository(repository, pulumi.name)
    stack = saved_stack(pulumi, settings, repository)
    state["config"] = pulumi_config(pulumi)  # has the identity
    with scratch_folder(pulumi.name, "backup") as folder:
        with step(f"Copying the data of stack {pulumi.stack}"):
            found = _collect(pulumi, settings, outputs, state, folder)
        if not accept_loss:
            require_no_loss(repository, stack, found)
        with step(f"Saving them to {repository.address}"):
            summary = repository.save_folder(folder, stack)
    repository.save_state(json.dumps(state), stack)
    record_success(pulumi.name, BACKUP)
    if "monitoring_url" in outputs:
        renew_lease(outputs["kubeconfig"], BACKUP)
    assert settings.platform.backup
    try:
        repository.delete_outdated(stack, settings.platform.backup.keep)
    except RepositoryLocked as error:
        log_message(f"The outdated backups stay until the next backup: {error}")
    log_message(
        f"Saved {summary['total_files_processed']} files, {summary['total_bytes_processed'] / 1e6:.1f} MB, of which "
        f"{summary['data_added'] / 1e6:.1f} MB are new, and Pulumi's state with its secrets."
    )
    return 0


def required_repository(stack: str, settings: StackSettings) -> BackupRepository:
    """Return the repository of a stack's settings.

    Raises:
        BackupError: the settings name none.
    """
    if settings.platform.backup is None:
        raise BackupError(
            f"the stack {stack} has no setting platform:backup; set target and password, see docs/backup.md"
        )
    return configured_repository(settings.platform.backup)


def _collect(
    pulumi: Pulumi, settings: StackSettings, outputs: dict[str, Any], state: dict[str, Any], folder: Path
) -> dict[str, Any]:
    """Write the data of a stack and the manifest into a folder; return the fingerprint and the numbers of objects."""
    logins = container_logins(state)
    kubeflow = kubeflow_data(settings, outputs)
    before = take_fingerprint(outputs, logins, kubeflow)
    if not (outputs.get("kubeconfig") or settings.platform.tracking.database_url or has_local_data(pulumi.name)):
        raise BackupError(f"{stack_folder(pulumi.name)} has no database of MLflow: the data of the stack are elsewhere")
    objects: dict[str, int] = {}
    copy_local_data(pulumi.name, folder)
    if kubeconfig := outputs.get("kubeconfig"):
        copy_cluster_data(kubeconfig, folder)
        if "door_url" in outputs:
            copy_audit_log(kubeconfig, folder)
        if kubeflow:
            objects |= kubeflow.copy(folder)
    copy_etcd(outputs.get("machines") or [], folder)
    objects |= copy_external_data(settings.platform.tracking, folder / CONTENT)
    for team, login in logins.items():
        container = container_folder(folder, team)
        objects[container.relative_to(folder).as_posix()] = download_container(login, container)
    after = take_fingerprint(outputs, logins, kubeflow)
    manifest = {"stack": pulumi.name, "time": datetime.now(UTC).isoformat(), OBJECTS: objects}
    (folder / MANIFEST).write_text(json.dumps(manifest | unchanged_records(before, after)))
    return {**after, OBJECTS: objects}
