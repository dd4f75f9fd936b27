"""Pipeline runs recorded in MLflow: one experiment for each pipeline, one experiment run for each pipeline run."""

from __future__ import annotations

import json
import os
import posixpath
import re
import shutil
import tempfile
from collections.abc import Container, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RUN_KEY_TAG = "pipeline_run"
DISPLAYED_SUFFIXES = {".html", ".json", ".md", ".png", ".svg"}
"""Files that MLflow's pages display; data and models are not copied."""
DISPLAYED_BYTES = 1 << 20
SUFFIXES = {"system.HTML": ".html", "system.Markdown": ".md"}
"""Suffixes of artifacts whose files kfp writes without one."""
MAXIMUM_TEXT = 5000
DIGEST_CHARACTERS = 36


class Result(Protocol):
    """The result of a pipeline run; `steps` have the format of the runner's result file."""

    @property
    def succeeded(self) -> bool:
        """True if every step succeeded."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs of the pipeline by name."""

    @property
    def steps(self) -> list[dict[str, Any]]:
        """Steps in the order of their start."""

    @property
    def failed_step(self) -> str | None:
        """Name of the step that failed, None for a failure outside the steps."""

    @property
    def error(self) -> str:
        """Last lines of the failed step's log."""


def client(tracking_url: str) -> MlflowClient:
    """Return a client that prints nothing and fails within seconds if the server is unreachable."""
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracking_url, registry_uri=tracking_url)


def find_or_create_experiment(mlflow: MlflowClient, name: str) -> str:
    """Return the id of the experiment `name`; create it, or restore it if it was deleted."""
    experiment = mlflow.get_experiment_by_name(name)
    if experiment is None:
        return str(mlflow.create_experiment(name))
    if experiment.lifecycle_stage == "deleted":
        mlflow.restore_experiment(experiment.experiment_id)
    return str(experiment.experiment_id)


def find_or_create_run(mlflow: MlflowClient, pipeline: str, run_key: str) -> Run:
    """Return the experiment run of the pipeline run `run_key`; create it if necessary.

    Steps and the platform find the same run by this key. An empty key always creates a run.
    """
    experiment_id = find_or_create_experiment(mlflow, pipeline)
    if run_key:
        runs = mlflow.search_runs([experiment_id], f"tags.{RUN_KEY_TAG} = '{run_key}'", max_results=1)
        if runs:
            return runs[0]
    tags = {"pipeline": pipeline} | ({RUN_KEY_TAG: run_key} if run_key else {})
    return mlflow.create_run(experiment_id, tags=tags, run_name=run_key or None)


def record(
    tracking_url: str,
    pipeline: str,
    run_key: str,
    parameters: Mapping[str, Any],
    result: Result,
    tags: Mapping[str, str],
) -> str:
    """Record the result of a pipeline run in MLflow; recording it again changes nothing.

    Numbers among the pipeline's outputs and in the metrics of its steps become metrics. Other outputs become tags.
    Data sets become inputs of the run. Reports, plots and signatures become artifacts, in a folder for each step.

    Returns:
        The id of the experiment run.
    """
    from mlflow.entities import Metric, Param, RunTag

    mlflow = client(tracking_url)
    run = find_or_create_run(mlflow, pipeline, run_key)
    all_tags = dict(tags) | {name: value for name, value in result.outputs.items() if not _is_number(value)}
    if not result.succeeded:
        all_tags |= {"failed_step": result.failed_step or "", "error": result.error}
    # MLflow drops a metric of the same value at the same time, so the history does not grow when recorded again.
    time = run.info.start_time
    mlflow.log_batch(
        run.info.run_id,
        metrics=[Metric(name, value, time, 0) for name, value in _metrics(result).items()],
        params=[Param(name, _text(value)) for name, value in parameters.items()],
        tags=[RunTag(name, _text(value)) for name, value in all_tags.items()],
    )
    _record_data(mlflow, run.info.run_id, result.steps)
    with tempfile.TemporaryDirectory() as folder:
        _copy_displayed_files(result.steps, Path(folder))
        mlflow.log_artifacts(run.info.run_id, folder)
    mlflow.set_terminated(run.info.run_id, "FINISHED" if result.succeeded else "FAILED", run.info.end_time)
    return str(run.info.run_id)


def _metrics(result: Result) -> dict[str, float]:
    """Return numbers by name.

    A name with different values in two steps, or in a step and an output, becomes `step.name`.
    """
    outputs = {name: float(value) for name, value in result.outputs.items() if _is_number(value)}
    step_metrics = [
        (step["name"], name, float(value))
        for step, artifact in _artifacts(result.steps)
        if artifact["type"] == "system.Metrics"
        for name, value in artifact["metadata"].items()
        if _is_number(value)
    ]
    values: dict[str, set[float]] = {name: {value} for name, value in outputs.items()}
    for _, name, value in step_metrics:
        values.setdefault(name, set()).add(value)
    named = {name if len(values[name]) == 1 else f"{step}.{name}": value for step, name, value in step_metrics}
    accepted: dict[str, float] = {}
    for name, value in (named | outputs).items():
        accepted[_accepted_name(name, accepted)] = value
    return accepted


def _accepted_name(name: str, taken: Container[str]) -> str:
    """Return a name that MLflow accepts for a metric: names of columns may have any character."""
    accepted = re.sub(r"[^/\w.\- :]", "_", name)
    if posixpath.normpath(accepted) != accepted or accepted.startswith(("/", "..")):
        accepted = re.sub(r"[/.]", "_", accepted)
    numbers = (accepted if number == 1 else f"{accepted}_{number}" for number in count(1))
    return next(each for each in numbers if each not in taken)


def _record_data(mlflow: MlflowClient, run_id: str, steps: list[dict[str, Any]]) -> None:
    """Record the data sets with a fingerprint as inputs of the run; parts of the same file are one data set."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    datasets = {
        artifact["metadata"]["sha256"]: artifact["metadata"]
        for _, artifact in _artifacts(steps)
        if artifact["type"] == "system.Dataset" and "sha256" in artifact["metadata"]
    }
    inputs = []
    for digest, about in datasets.items():
        profile = {"rows": int(about["rows"]), "columns": int(about["columns"]), "sha256": digest}
        dataset = Dataset(
            name=about["source"].rpartition("/")[2],
            digest=digest[:DIGEST_CHARACTERS],
            source_type="uri",
            source=json.dumps({"uri": about["source"]}),
            profile=json.dumps(profile),
        )
        inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", "training")]))
        for name, value in (profile | {"source": about["source"]}).items():
            mlflow.set_tag(run_id, f"data.{name}", value)
    mlflow.log_inputs(run_id, inputs)


def _copy_displayed_files(steps: list[dict[str, Any]], folder: Path) -> None:
    """Copy the files that MLflow's pages display to `<folder>/<step>/`."""
    for step, artifact in _artifacts(steps):
        source = Path(artifact["uri"])
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in files:
            suffix = SUFFIXES.get(artifact["type"], file.suffix)
            if file.is_file() and suffix in DISPLAYED_SUFFIXES and file.stat().st_size <= DISPLAYED_BYTES:
                target = (folder / step["name"] / artifact["name"] / file.relative_to(source)).with_suffix(suffix)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, target)


def _artifacts(steps: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    return ((step, artifact) for step in steps for artifact in step["artifacts"])


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: Any) -> str:
    return str(value)[:MAXIMUM_TEXT]
