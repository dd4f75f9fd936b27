"""Drill of a restore: `make drill STACK=...` brings up a new stack from the last backup and compares it."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from infra.lab.requirements import require_root_and_tools
from settings.stack import StackSettings
from tools.bootstrap.console import log_message
from tools.cli.backup.backup import required_repository
from tools.cli.backup.chosen_backup import add_time_option
from tools.cli.backup.contents.kubeflow_data import kubeflow_data
from tools.cli.backup.errors import BackupError
from tools.cli.backup.fingerprint import KINDS, differences, take_fingerprint
from tools.cli.backup.records import DRILL, record_success, renew_lease
from tools.cli.backup.restic_repository import SavedStack
from tools.cli.backup.restore import Up, replace_kubeflow_data, restore_data
from tools.cli.backup.stack_state import container_logins, export_state, stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi
from tools.cli.rehearsal.drill_settings import local_drill_settings, without_runs
from tools.cli.rehearsal.rehearsal_settings import rehearsal_settings
from tools.cli.rehearsal.temporary_lab import free_lab_network, next_settings, write_settings
from tools.cli.rehearsal.temporary_stack import Down, temporary_stack

SHOWN_DIFFERENCES = 20
MACHINES = (1, 2)
"""Control planes and workers of the lab for a stack with a cluster. Replicated stores need three machines."""


def drill(pulumi: Pulumi, arguments: list[str], up: Up, down: Down) -> int:
    """Restore the last backup, or that of `--at`, into a new stack, compare it with its original, and remove it again.

    Returns:
        0 if each run, version and prediction of the backup is in the restored stack, else 1.

    Raises:
        BackupError: the stack has external stores or no backup, the backup has nothing to compare, or the restored
            stack did not come up.
        UserError: the stack has a cluster, and this computer cannot have a lab.
    """
    parser = argparse.ArgumentParser(prog="make drill", allow_abbrev=False)
    add_time_option(parser)
    at = parser.parse_args(arguments).at
    settings = stack_settings(pulumi)
    tracking = settings.platform.tracking
    if tracking.database_url or tracking.artifacts:
        raise BackupError(
            "platform:tracking: a drill would write to database_url or artifacts of the running stack. Restore "
            "into a stack with other stores: make restore STACK=... FROM=..."
        )
    repository = required_repository(pulumi.stack, settings)
    original = SavedStack(pulumi.name, settings.platform.backup_identity)
    with _new_stack(pulumi, settings, down) as stack:
        started = time.monotonic()
        code, manifest = restore_data(stack, repository, original, overwrite=False, up=up, at=at)
        if code:
            raise BackupError("the drill failed: the restored stack did not come up; see the messages above")
        if settings.platform.pipelines == "kubeflow":
            replace_kubeflow_data(stack, repository, original, overwrite=True, at=at)
        recovery = timedelta(seconds=round(time.monotonic() - started))
        outputs = secret_outputs(stack)
        # The temporary stack has separate stores where those of the original are outside its cluster.
        kubeflow = kubeflow_data(stack_settings(stack), outputs)
        restored = take_fingerprint(outputs, container_logins(export_state(stack)), kubeflow)
        found = list(differences(manifest, restored))
    age = datetime.now(UTC) - datetime.fromisoformat(manifest["time"])
    compared = {kind: manifest[kind] for kind in KINDS if kind in manifest}
    counts = ", ".join(f"{len(records)} {kind}" for kind, records in compared.items())
    for line in found[:SHOWN_DIFFERENCES]:
        log_message(f"  {line}")
    if not any(compared.values()):
        raise BackupError(f"the last backup of the stack {pulumi.stack} has {counts}: there was nothing to compare")
    result = f"{len(found)} of {counts} differ" if found else f"all are equal: {counts}"
    log_message(f"Drill of stack {pulumi.stack}: {result}. Recovery time {recovery}, age of the data {_rounded(age)}.")
    if not found:
        _record(pulumi)
    return 1 if found else 0


def _record(pulumi: Pulumi) -> None:
    """Record the success on this computer, and in the stack's cluster for its alerts if the cluster answers."""
    record_success(pulumi.name, DRILL)
    outputs = secret_outputs(pulumi)
    if "monitoring_url" in outputs:
        try:
            renew_lease(outputs["kubeconfig"], DRILL)
        except AccessError as error:
            log_message(f"The alerts of stack {pulumi.stack} do not know of the drill: {error}")


@contextmanager
def _new_stack(pulumi: Pulumi, settings: StackSettings, down: Down) -> Iterator[Pulumi]:
    """Yield an empty stack with the settings of another one: on free ports of this computer, or in a lab."""
    written, secrets = next_settings(pulumi)
    with temporary_stack(f"{pulumi.stack}-drill", down) as stack:
        if settings.infra.cluster != "none":
            require_root_and_tools()
            written = rehearsal_settings(written, free_lab_network(settings.infra.kubernetes), MACHINES)
        else:
            written = local_drill_settings(written, settings.serving.grpc_port is not None)
        write_settings(stack, without_runs(written), secrets)
        yield stack


def _rounded(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))
