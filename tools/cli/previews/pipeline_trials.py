"""Trial runs of changed pipelines: how many of the champion's answers on the test rows would change.

A trial runs the pipeline of this checkout on this computer, with the settings of the stack and the data that the stack
reads. A temporary MLflow with a copy of the champion takes the place of the stack's, so that a trial changes nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlplatform.engine_config import EmbeddedEngineConfig
from mlplatform.mlflow import DISABLED_FEATURES
from mlplatform.mlflow_pod import SERVER
from mlplatform.tracking_access import parse_tracking_access

from infra.errors import UserError
from infra.local.free_ports import free_port
from infra.local.local_process import HOST, PYTHON
from infra.local.process_group import ProcessGroup
from infra.retry import poll
from settings.metrics import COSTS, METRICS
from settings.workloads import PipelineSettings
from tools.bootstrap.process import inherited_environment
from tools.cli.backup.stack_state import export_state, plain_value, resources, stack_settings
from tools.cli.cluster_access import secret_outputs, tracking_output
from tools.cli.previews.preview_report import CHAMPION, RUN, planned_resources
from tools.cli.pulumi_command import Pulumi
from workloads.engines.base import RunRequest, RunResult
from workloads.engines.dag.package_support import UnsupportedPackage
from workloads.engines.local_engine import EmbeddedEngine
from workloads.ml.errors import StepError
from workloads.ml.evaluation.verdict import CHAMPION_PREFIX, CHANGED_ANSWERS
from workloads.mlflow_session import mlflow_session
from workloads.runs.arguments import add_run_parameters, resolve_arguments
from workloads.runs.compiler import CompileError, Compiler
from workloads.runs.gate_parameters import gate_parameters
from workloads.runs.pipeline_sources import local_image

START_SECONDS = 120
MLFLOW_LOGIN = "MLFLOW_TRACKING_"
"""Beginning of the names of the credentials for the stack's MLflow, which a trial does not use."""


def trial_lines(pulumi: Pulumi, plan: Mapping[str, Any]) -> Iterator[str]:
    """Run each pipeline of a served model that the preview would run again, and yield a line about its answers.

    Args:
        pulumi: the stack, which is up.
        plan: the CLI's JSON of its preview.
    """
    champions = champions_at_stake(plan)
    if not champions:
        return
    settings, state = stack_settings(pulumi), export_state(pulumi)
    runs = {each["inputs"]["pipeline"]: each["inputs"] for each in resources(state) if each["type"].endswith(RUN)}
    access = parse_tracking_access(tracking_output(secret_outputs(pulumi), pulumi.stack))
    for name, (model, version) in champions.items():
        with tempfile.TemporaryDirectory() as folder, _temporary_registry(Path(folder) / "mlflow") as url:
            try:
                with mlflow_session(access) as theirs:
                    _copy_champion(theirs, url, model, version, Path(folder) / "champion")
                result = _run(name, settings.workloads.pipelines[name], runs[name], url, Path(folder))
            except (UserError, StepError, CompileError, UnsupportedPackage) as error:
                yield f"`{name}`: it cannot be tried: {error}"
                continue
        yield f"`{name}`: {outcome(model, version, result)}"


def champions_at_stake(plan: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return model and version of the current champions whose pipelines would run again, by pipeline."""
    planned = planned_resources(plan)
    again = {
        each.inputs["pipeline"] for each in planned if each.kind == RUN and each.operation in ("update", "replace")
    }
    found: dict[str, tuple[str, str]] = {}
    for champion in planned:
        outputs = champion.before.get("outputs") or {}
        pipeline = champion.inputs.get("pipeline") if champion.kind == CHAMPION else None
        if pipeline and pipeline in again and outputs.get("version"):
            found[pipeline] = (champion.inputs["model"], outputs["version"])
    return found


def outcome(model: str, version: str, result: RunResult) -> str:
    """Return a sentence on the answers that change, from the metrics of a run's steps."""
    if not result.succeeded:
        lines = result.error.strip().splitlines() or ["no message"]
        step = f"in step {result.failed_step}" if result.failed_step else "outside its steps"
        return f"the run fails {step}: {lines[-1]}"
    artifacts = [artifact for step in result.steps for artifact in step["artifacts"]]
    metrics = {name: value for artifact in artifacts for name, value in (artifact.get("metadata") or {}).items()}
    if CHANGED_ANSWERS not in metrics:
        return f"the run compares no answers with {model} version {version}: pass model_name to test_model"
    scores = [
        f"{name} {metrics[CHAMPION_PREFIX + name]:.3g} becomes {metrics[name]:.3g}"
        for name in METRICS
        if name not in COSTS and name in metrics and CHAMPION_PREFIX + name in metrics
    ]
    changed = f"{metrics[CHANGED_ANSWERS]:.0f} of the answers of {model} version {version} on the test rows change"
    return "; ".join([changed, ", ".join(scores)]) if scores else changed


def _run(name: str, pipeline: PipelineSettings, before: Mapping[str, Any], url: str, folder: Path) -> RunResult:
    """Compile and run a pipeline on this computer.

    Args:
        name: the name of the pipeline.
        pipeline: its settings.
        before: the inputs of its last run in the stack's state.
        url: the address of the temporary MLflow.
        folder: a folder for the run.
    """
    package = Compiler().compile(name, local_image(), pipeline.retries)
    platform = {key: plain_value(value) for key, value in before["platform"].items()}
    if pipeline.gate is not None:
        platform |= gate_parameters(pipeline.gate_conditions)
    secrets = {key: str(plain_value(value)) for key, value in plain_value(before["secrets"]).items()}
    engine = EmbeddedEngine(EmbeddedEngineConfig(directory=str(folder)))
    run_id = f"{name}-trial"
    arguments = resolve_arguments(name, package.parameters, pipeline.arguments, platform)
    request = RunRequest(
        pipeline=name,
        run_id=run_id,
        version_id=engine.upload(name, "trial", package.ir, [], pipeline.timeout_minutes),
        arguments=add_run_parameters(arguments, package.parameters, run_id, url),
        secrets={key: value for key, value in secrets.items() if not key.startswith(MLFLOW_LOGIN)},
        tracking_url=url,
        timeout_minutes=pipeline.timeout_minutes,
    )
    return engine.run(request)


def _copy_champion(source: str, target: str, model: str, version: str, folder: Path) -> None:
    """Register a version of the stack's MLflow in the temporary one, with the alias of a champion."""
    from workloads.ml import model_registry
    from workloads.ml.model.model_directory import save_model_directory

    champion = model_registry.fetch(source, model, version)
    save_model_directory(folder, champion.onnx, champion.signature)
    model_registry.register(target, folder, model, champion.signature["metrics"], "champion", f"version {version}")


@contextmanager
def _temporary_registry(folder: Path) -> Iterator[str]:
    """Yield the address of a new MLflow, which ends with the block.

    Raises:
        UserError: it does not start.
    """
    import requests

    folder.mkdir()
    port = free_port()
    stores = ("--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder / "files"))
    group, log, url = ProcessGroup(folder / "process.json"), folder / "log", f"http://{HOST}:{port}"
    environment = inherited_environment(DISABLED_FEATURES)
    command: Sequence[str] = (PYTHON, *SERVER, "--host", HOST, "--port", str(port), *stores)
    process = group.start(command, cwd=folder, env=environment, log=log, stdin=subprocess.DEVNULL)

    def responds() -> bool | None:
        if process.poll() is not None:
            raise UserError(f"the temporary MLflow ended: {log.read_text(errors='replace')[-500:]}")
        try:
            return requests.get(f"{url}/health", timeout=5).ok or None
        except requests.RequestException:
            return None

    try:
        if not poll(responds, timeout=START_SECONDS, interval=0.2):
            raise UserError(f"the temporary MLflow did not start within {START_SECONDS} s")
        yield url
    finally:
        group.stop()
