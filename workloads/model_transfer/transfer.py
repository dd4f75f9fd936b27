"""Champions of one MLflow server brought to another, with all their versions and the runs that made them.

The two servers have different passwords, which MLflow's client takes from the environment: so each version is read
into a folder first, and written from there.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi

from infra.errors import UserError
from infra.kubernetes_client.port_forward import reachable_url
from workloads.ml import tracking
from workloads.ml.errors import StepError
from workloads.ml.model import model_directory
from workloads.ml.model_registry import ALIAS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

FROM_RUN = "copied_from_run"
"""Tag of a run and of a version that were brought here: the id of the run there."""
AT_ONCE = 100
"""Metrics, parameters and tags in one request, of which MLflow takes no more."""


@dataclass(frozen=True)
class Server:
    """An MLflow server, reached as `infra.kubernetes_client.port_forward` says; `name` is what messages call it."""

    name: str
    url: str
    access: Mapping[str, str]

    @contextmanager
    def client(self) -> Iterator[MlflowClient]:
        """MLflow's own, as long as the block lasts; one at a time, as the password is in the environment."""
        with reachable_url(self.url, self.access) as url:
            yield tracking.client(url)


@dataclass(frozen=True)
class Made:
    """The run that made a version, with its files in a folder; `directory` is the model's among them."""

    experiment: str
    run: Run
    history: list[Metric]
    files: Path
    directory: str


def transfer(source: Server, target: Server) -> dict[str, str]:
    """Bring every registered model that has a champion, each version under the number that it has at the source.

    Safe to run twice: what is there is not brought again, and a transfer that was killed is finished.

    Returns:
        The champion's version by the name of its model.

    Raises:
        UserError: the target has other versions of a model, or a version is not what its hash says, there or here.
        MlflowException: a server cannot be used.
    """
    with source.client() as theirs:
        models = [found for found in _pages(theirs.search_registered_models) if ALIAS in found.aliases]
        versions = {found.name: _versions(theirs, found.name) for found in models}
    for found in models:
        _bring(found, versions[found.name], source, target)
    return {found.name: str(found.aliases[ALIAS]) for found in models}


def _bring(found: RegisteredModel, versions: dict[int, ModelVersion], source: Server, target: Server) -> None:
    with target.client() as ours:
        there = _versions(ours, found.name)
        for number in sorted(there):
            if number not in versions and FROM_RUN in there[number].tags:
                # It held the place of a deleted one when a transfer was killed.
                ours.delete_model_version(found.name, str(number))
                del there[number]
    _require_the_same(found.name, there, versions, source)
    for number in sorted(set(versions) - set(there)):
        with tempfile.TemporaryDirectory() as folder:
            with source.client() as theirs:
                made = _read(theirs, versions[number], Path(folder))
            with target.client() as ours:
                _register(ours, versions[number], made)
        pulumi.log.info(f"{found.name} version {number} is here, as it is in {source.name}")
    with target.client() as ours:
        if found.description:
            ours.update_registered_model(found.name, found.description)
        for key, value in found.tags.items():
            ours.set_registered_model_tag(found.name, key, value)
        for alias, version in found.aliases.items():
            ours.set_registered_model_alias(found.name, alias, str(version))


def _require_the_same(
    name: str, there: Mapping[int, ModelVersion], versions: Mapping[int, ModelVersion], source: Server
) -> None:
    for number, own in there.items():
        if number not in versions or own.tags.get("sha256") != versions[number].tags.get("sha256"):
            raise UserError(
                f"the model {name} has a version {number} of its own here, and version numbers stay what they are in "
                f"{source.name}: delete the model in this stack's MLflow, or leave out workloads:models_from"
            )


def _read(theirs: MlflowClient, version: ModelVersion, folder: Path) -> Made:
    """The run that made a version and all its files, the model's hash checked."""
    name = f"{version.name} version {version.version}"
    run = theirs.get_run(version.run_id) if version.run_id else None
    root, place = f"{run.info.artifact_uri}/" if run else "", version.source or ""
    if run is None or not place.startswith(root):
        raise UserError(
            f"{name} was not registered by a pipeline of this program: its files are at {place}; take the "
            f"alias {ALIAS} from its model, and it stays where it is"
        )
    files = Path(theirs.download_artifacts(run.info.run_id, "", str(folder)))
    made = Made(
        experiment=theirs.get_experiment(run.info.experiment_id).name,
        run=run,
        history=[each for metric in run.data.metrics for each in theirs.get_metric_history(run.info.run_id, metric)],
        files=files,
        directory=place.removeprefix(root),
    )
    try:
        found = model_directory.load(files / made.directory).signature["sha256"]
    except StepError as error:
        raise UserError(f"{name}: {error}") from None
    if found != version.tags.get("sha256"):
        raise UserError(f"{name} was changed: its SHA-256 is {found}, its registry says {version.tags.get('sha256')}")
    return made


def _register(ours: MlflowClient, version: ModelVersion, made: Made) -> None:
    from mlflow.exceptions import MlflowException

    run = _write(ours, made)
    with tempfile.TemporaryDirectory() as folder:
        back = Path(ours.download_artifacts(run.info.run_id, made.directory, folder))
        if _digest(back) != _digest(made.files / made.directory):
            raise UserError(f"{version.name} version {version.version} arrived changed: run `pulumi up` again")
    try:
        ours.create_registered_model(version.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    number, wanted = 0, int(version.version)
    while number < wanted:
        # A number that a version had which was deleted there is not given again: here such a version is deleted, too.
        if number:
            ours.delete_model_version(version.name, str(number))
        created = ours.create_model_version(
            version.name,
            f"{run.info.artifact_uri}/{made.directory}",
            run.info.run_id,
            tags=version.tags | {FROM_RUN: made.run.info.run_id},
            description=version.description,
            await_creation_for=0,
        )
        number = int(created.version)
    if number > wanted:
        ours.delete_model_version(version.name, str(number))
        raise UserError(
            f"{version.name} version {wanted} would be {number} here, as there were versions that were deleted: delete "
            "the model itself in this stack's MLflow"
        )


def _write(ours: MlflowClient, made: Made) -> Run:
    """The run as it was there, but for its id; one that was half written is written to its end."""
    from mlflow.entities import Param, RunTag

    info, data = made.run.info, made.run.data
    experiment_id = tracking.find_or_create_experiment(ours, made.experiment)
    found = ours.search_runs([experiment_id], f"tags.{FROM_RUN} = '{info.run_id}'", max_results=1)
    run: Run = (
        found[0]
        if found
        else ours.create_run(experiment_id, info.start_time, {FROM_RUN: info.run_id}, run_name=info.run_name)
    )
    params = [Param(key, value) for key, value in data.params.items()]
    tags = [RunTag(key, value) for key, value in data.tags.items()]
    for first in range(0, max(len(made.history), len(params), len(tags)), AT_ONCE):
        few = slice(first, first + AT_ONCE)
        ours.log_batch(run.info.run_id, made.history[few], params[few], tags[few])
    if made.run.inputs and made.run.inputs.dataset_inputs:
        ours.log_inputs(run.info.run_id, made.run.inputs.dataset_inputs)
    ours.log_artifacts(run.info.run_id, str(made.files))
    ours.set_terminated(run.info.run_id, info.status, info.end_time)
    return run


def _versions(mlflow: MlflowClient, name: str) -> dict[int, ModelVersion]:
    found = _pages(lambda **page: mlflow.search_model_versions(f"name = '{name}'", **page))
    return {int(version.version): version for version in found}


def _pages(search: Callable[..., Any]) -> Iterator[Any]:
    token = None
    while True:
        page = search(page_token=token)
        yield from page
        if not (token := page.token):
            return


def _digest(folder: Path) -> str:
    """SHA-256 of the names and contents of all files below a folder."""
    found = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            name = str(file.relative_to(folder)).encode()
            found.update(b"%d %s %d " % (len(name), name, file.stat().st_size) + file.read_bytes())
    return found.hexdigest()
