"""Stacks whose restore has begun and did not end."""

from __future__ import annotations

from tools.cli.backup.contents.cluster_data import has_cluster_data
from tools.cli.backup.contents.external_stores import has_external_data
from tools.cli.backup.contents.local_data import has_local_data
from tools.cli.backup.errors import BackupError
from tools.cli.backup.stack_state import config_values, stack_settings
from tools.cli.cluster_access import AccessError, secret_outputs
from tools.cli.pulumi_command import Pulumi

ADOPT = "workloads:adopt_champions"
"""Setting that a restore writes before its first `up`, and removes after the last one."""


def is_unfinished(pulumi: Pulumi) -> bool:
    """Return True if the last restore of a stack did not end."""
    return ADOPT in config_values(pulumi)


def require_loaded_data(pulumi: Pulumi) -> None:
    """Require the data of the backup in MLflow, if the restore of a stack with a cluster did not end.

    On a computer without a cluster, a restore moves the data to their place before its first `up`.

    Raises:
        BackupError: `up` would train new models, because MLflow has no data yet.
    """
    pulumi.select("--create")
    if stack_settings(pulumi).infra.cluster == "none" or not is_unfinished(pulumi):
        return
    try:
        state = "" if has_data(pulumi) else "MLflow has no data yet"
    except AccessError as error:
        state = f"MLflow does not respond: {error}"
    if state:
        raise BackupError(
            f"the restore of the stack {pulumi.stack} did not end, and {state}. `up` would train new models. Repeat "
            f"`make restore STACK={pulumi.stack}` with its arguments. To go on without the data of the backup, run "
            f"`pulumi config rm {ADOPT} --stack {pulumi.stack}`"
        )


def has_data(pulumi: Pulumi) -> bool:
    """Return True if MLflow of a stack has data, on this computer or in a cluster that is up."""
    settings = stack_settings(pulumi)
    if database := settings.platform.tracking.database_url:
        return has_external_data(database.get_secret_value())
    if kubeconfig := secret_outputs(pulumi).get("kubeconfig"):
        return has_cluster_data(kubeconfig)
    return settings.infra.cluster == "none" and has_local_data(pulumi.name)
