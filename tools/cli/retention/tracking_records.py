"""Runs and model versions of an MLflow server, for the rules that delete old ones."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from mlplatform.mlflow import NAMESPACE
from mlplatform.mlflow_pod import CONTAINER_PORT, MODULE, NAME
from mlplatform.mlflow_stores import store_variables
from mlplatform.tracking_access import parse_tracking_access

from infra.local.local_process import PYTHON
from tools.bootstrap.process import CommandError
from tools.cli.backup.contents.local_data import stack_folder
from tools.cli.backup.stack_state import stack_settings
from tools.cli.cluster_access import run_in_deployment, tracking_output
from tools.cli.pulumi_command import Pulumi
from tools.cli.retention.deletion_plan import RunRecord, VersionRecord
from workloads.ml.tracking import RUN_KEY_TAG
from workloads.ml.tuning.trial_runs import PARENT
from workloads.mlflow_session import mlflow_session
from workloads.model_transfer.transfer import all_pages

if TYPE_CHECKING:
    from mlflow import MlflowClient

PURGE = f"{MODULE}.purge"
PAGE = 1000
"""Runs in one response of MLflow."""


@dataclass(frozen=True)
class TrackingRecords:
    """Records of a server while its session is open. `keys` are the ids of pipeline runs by the ids of runs."""

    pulumi: Pulumi
    url: str
    client: MlflowClient
    outputs: Mapping[str, Any]
    runs: Sequence[RunRecord]
    versions: Sequence[VersionRecord]
    keys: Mapping[str, str]

    def size(self, run: RunRecord, path: str | None = None) -> int:
        """Return the size in bytes of a run's files."""
        files = self.client.list_artifacts(run.id, path)
        return sum(self.size(run, file.path) if file.is_dir else file.file_size or 0 for file in files)

    def delete(self, versions: Sequence[VersionRecord], runs: Sequence[RunRecord]) -> None:
        """Delete versions, then runs with their files.

        Raises:
            CommandError, AccessError: the program that removes the runs failed; the next call continues.
        """
        for version in versions:
            self.client.delete_model_version(version.model, version.version)
        for run in runs:
            if not run.hidden:
                self.client.delete_run(run.id)
        if runs:
            self._purge("\n".join(run.id for run in runs))

    def _purge(self, ids: str) -> None:
        if kubeconfig := self.outputs.get("kubeconfig"):
            command = ["env", f"MLFLOW_TRACKING_URI=http://127.0.0.1:{CONTAINER_PORT}", "python3", "-m", PURGE]
            with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout:
                stdin.write(ids.encode())
                stdin.seek(0)
                run_in_deployment(kubeconfig, NAMESPACE, NAME, command, stdin=stdin, stdout=stdout)
            return
        tracking = stack_settings(self.pulumi).platform.tracking
        plain, _ = store_variables(tracking, "")
        database = tracking.database_url
        stores = {**plain, **({"MLFLOW_BACKEND_STORE_URI": database.get_secret_value()} if database else {})}
        finished = subprocess.run(
            [PYTHON, "-m", PURGE],
            cwd=stack_folder(self.pulumi.name) / "mlflow",
            env=os.environ | stores | {"MLFLOW_TRACKING_URI": self.url},
            input=ids,
            capture_output=True,
            text=True,
        )
        if finished.returncode:
            raise CommandError(f"the runs could not be removed: {finished.stderr.strip()[-1000:]}")


@contextmanager
def tracking_records(pulumi: Pulumi, outputs: Mapping[str, Any]) -> Iterator[TrackingRecords]:
    """Yield the records of a stack's MLflow, read with the rights of its administrator.

    Raises:
        AccessError: the stack is not up.
    """
    from workloads.ml import tracking

    access = parse_tracking_access(tracking_output(outputs, pulumi.stack))
    if login := outputs.get("tracking_login"):
        access = replace(access, **login)
    with mlflow_session(access) as url:
        client = tracking.client(url)
        found = list(_runs(client))
        keys = {run.info.run_id: run.data.tags.get(RUN_KEY_TAG, "") for _, run in found}
        runs = [_run_record(pipeline, run) for pipeline, run in found]
        yield TrackingRecords(pulumi, url, client, outputs, runs, list(_versions(client)), keys)


def _runs(client: MlflowClient) -> Iterator[tuple[str, Any]]:
    """Yield each run, also a hidden one, with the name of its experiment, which is that of its pipeline."""
    from mlflow.entities import ViewType

    for experiment in all_pages(client.search_experiments):
        search = partial(client.search_runs, [experiment.experiment_id], "", ViewType.ALL, PAGE)
        for run in all_pages(search):
            yield experiment.name, run


def _run_record(pipeline: str, run: Any) -> RunRecord:
    return RunRecord(
        run.info.run_id,
        pipeline,
        _time(run.info.start_time),
        parent=run.data.tags.get(PARENT, ""),
        active=run.info.status in ("RUNNING", "SCHEDULED"),
        hidden=run.info.lifecycle_stage == "deleted",
    )


def _versions(client: MlflowClient) -> Iterator[VersionRecord]:
    for model in all_pages(client.search_registered_models):
        aliased = {str(number) for number in model.aliases.values()}
        for version in all_pages(partial(client.search_model_versions, f"name = '{model.name}'")):
            number = str(version.version)
            created = _time(version.creation_timestamp)
            yield VersionRecord(model.name, number, created, version.run_id or "", number in aliased)


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
