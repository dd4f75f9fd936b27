"""Copy of registered models from one MLflow server to another, with all versions and the runs that produced them."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from workloads.ml import tracking
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import load_model_directory
from workloads.ml.model_registry import create_model
from workloads.ml.rest_client import ALIAS
from workloads.mlflow_session import mlflow_session

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

FROM_RUN = "copied_from_run"
"""Tag of a copied run and of a copied version: the id of the run at the source."""
BATCH_SIZE = 100
"""Maximum number of metrics, of parameters and of tags in one request to MLflow."""


@dataclass(frozen=True)
class Server:
    """MLflow server; messages call it `name`."""

    name: str
    access: TrackingAccess[str]

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """Yield MLflow's client of the server."""
        with mlflow_session(self.access) as url:
            yield tracking.client(url)


@dataclass(frozen=True)
class DownloadedRun:
    """Run that produced a version, with its files in the folder `files`; `directory` is the model's subfolder."""

    experiment: str
    run: Run
    history: list[Metric]
    files: Path
    directory: str


def transfer(source: Server, target: Server) -> dict[str, str]:
    """Copy every registered model that has a champion; each version keeps its number.

    Safe to run twice: the second call skips copied versions and completes an interrupted copy.

    Returns:
        The champion's version by the name of its model.

    Raises:
        UserError: the target has other versions of a model, or a version does not match its hash at either end.
        MlflowException: a server returned an error or did not respond.
    """
    with source.client() as theirs:
        models = [each for each in all_pages(theirs.search_registered_models) if ALIAS in each.aliases]
        versions = {each.name: _versions(theirs, each.name) for each in models}
    for each in models:
        _copy_model(each, versions[each.name], source, target)
    return {each.name: str(each.aliases[ALIAS]) for each in models}


def all_pages(search: Callable[..., Any]) -> Iterator[Any]:
    """Yield the items of all pages of a search of MLflow's client; `search` takes `page_token`."""
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        if not (token := page.token):
            return


def _copy_model(registered: RegisteredModel, versions: dict[int, ModelVersion], source: Server, target: Server) -> None:
    with target.client() as ours:
        existing = _versions(ours, registered.name)
        for number in sorted(existing):
            if number not in versions and FROM_RUN in existing[number].tags:
                # An interrupted copy left this placeholder of a version that is deleted at the source.
                ours.delete_model_version(registered.name, str(number))
                del existing[number]
    _require_same_versions(registered.name, existing, versions, source)
    for number in sorted(set(versions) - set(existing)):
        with tempfile.TemporaryDirectory() as folder:
            with source.client() as theirs:
                run = _download(theirs, versions[number], Path(folder))
            with target.client() as ours:
                _register(ours, versions[number], run)
        pulumi.log.info(f"{registered.name} version {number}: copied from {source.name}")
    with target.client() as ours:
        if registered.description:
            ours.update_registered_model(registered.name, registered.description)
        for key, value in registered.tags.items():
            ours.set_registered_model_tag(registered.name, key, value)
        for alias, version in registered.aliases.items():
            ours.set_registered_model_alias(registered.name, alias, str(version))


def _require_same_versions(
    name: str, existing: Mapping[int, ModelVersion], versions: Mapping[int, ModelVersion], source: Server
) -> None:
    for number, version in existing.items():
        if number not in versions or version.tags.get("sha256") != versions[number].tags.get("sha256"):
            raise UserError(
                f"the model {name} has another version {number} here than in {source.name}, and versions keep their "
                "numbers: delete the model in this stack's MLflow, or remove workloads:models_from"
            )


def _download(theirs: MlflowClient, version: ModelVersion, folder: Path) -> DownloadedRun:
    """Download the run that produced a version, with all its files, and verify the model's hash."""
    from mlflow.exceptions import MlflowException

    name = f"{version.name} version {version.version}"
    try:
        run = theirs.get_run(version.run_id) if version.run_id else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        raise UserError(
            f"{name} cannot be copied: its run {version.run_id} was removed for good. Delete the version in the other "
            "stack's MLflow"
        ) from None
    root, source = f"{run.info.artifact_uri}/" if run else "", version.source or ""
    if run is None or not source.startswith(root):
        raise UserError(
            f"{name} was not registered by a pipeline of this program: its files are at {source}. Remove the alias "
            f"{ALIAS} from its model to leave the model there"
        )
    files = Path(theirs.download_artifacts(run.info.run_id, "", str(folder)))
    downloaded = DownloadedRun(
        experiment=theirs.get_experiment(run.info.experiment_id).name,
        run=run,
        history=[each for metric in run.data.metrics for each in theirs.get_metric_history(run.info.run_id, metric)],
        files=files,
        directory=source.removeprefix(root),
    )
    try:
        found = load_model_directory(files / downloaded.directory).signature["sha256"]
    except StepError as error:
        raise UserError(f"{name}: {error}") from None
    if found != version.tags.get("sha256"):
        raise UserError(
            f"{name} was changed: its SHA-256 is {found}, but the registry has {version.tags.get('sha256')}"
        )
    return downloaded


def _register(ours: MlflowClient, version: ModelVersion, downloaded: DownloadedRun) -> None:
    """Register a version under its number, with a copy of its run."""
    run = _write_run(ours, downloaded)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(ours.download_artifacts(run.info.run_id, downloaded.directory, folder))
        if _digest(copy) != _digest(downloaded.files / downloaded.directory):
            raise UserError(f"{version.name} version {version.version} changed during the copy: run `pulumi up` again")
    create_model(ours, version.name)
    number, wanted = 0, int(version.version)
    while number < wanted:
        # MLflow numbers versions in order: fill the numbers of deleted versions with versions that are deleted here.
        if number:
            ours.delete_model_version(version.name, str(number))
        created = ours.create_model_version(
            version.name,
            f"{run.info.artifact_uri}/{downloaded.directory}",
            run.info.run_id,
            tags=version.tags | {FROM_RUN: downloaded.run.info.run_id},
            description=version.description,
            await_creation_for=0,
        )
        number = int(created.version)
    if number > wanted:
        ours.delete_model_version(version.name, str(number))
        raise UserError(
            f"{version.name} version {wanted} would get the number {number} here, because of deleted versions: delete "
            "the model in this stack's MLflow"
        )


def _write_run(ours: MlflowClient, downloaded: DownloadedRun) -> Run:
    """Write a copy of a run and return it; complete an interrupted copy."""
    from mlflow.entities import Param, RunTag

    info, data = downloaded.run.info, downloaded.run.data
    experiment_id = tracking.find_or_create_experiment(ours, downloaded.experiment)
    found = ours.search_runs([experiment_id], f"tags.{FROM_RUN} = '{info.run_id}'", max_results=1)
    run: Run = (
        found[0]
        if found
        else ours.create_run(experiment_id, info.start_time, {FROM_RUN: info.run_id}, run_name=info.run_name)
    )
    params = [Param(key, value) for key, value in data.params.items()]
    tags = [RunTag(key, value) for key, value in data.tags.items()]
    for first in range(0, max(len(downloaded.history), len(params), len(tags)), BATCH_SIZE):
        batch = slice(first, first + BATCH_SIZE)
        ours.log_batch(run.info.run_id, downloaded.history[batch], params[batch], tags[batch])
    if downloaded.run.inputs and downloaded.run.inputs.dataset_inputs:
        ours.log_inputs(run.info.run_id, downloaded.run.inputs.dataset_inputs)
    ours.log_artifacts(run.info.run_id, str(downloaded.files))
    ours.set_terminated(run.info.run_id, info.status, info.end_time)
    return run


def _versions(mlflow: MlflowClient, name: str) -> dict[int, ModelVersion]:
    found = all_pages(lambda **page: mlflow.search_model_versions(f"name = '{name}'", **page))
    return {int(version.version): version for version in found}


def _digest(folder: Path) -> str:
    """Return the SHA-256 of the names and contents of all files below a folder."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = str(file.relative_to(folder)).encode()
            found.update(b"%d %s %d " % (len(name), name, file.stat().st_size) + file.read_bytes())
    return found.hexdigest()
