"""A stack in a cluster, compared with this computer: its Service, and the runs of its engine.

The pipelines are run once more: on this computer by kfp's local runner, each step a process with nothing around it,
which is what a step's own compute is here; then by the stack's engine. Nothing is deployed by that.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mlplatform.engine_config import EmbeddedEngineConfig, parse_engine_config
from mlplatform.tracking_access import parse_tracking_access
from pulumi.runtime import rpc

from tests.bench.forest import FLOWERS
from tests.bench.http.contenders import ours
from tests.bench.http.load import Figures, load
from tests.bench.http.servers import Server, running
from tests.bench.http.serving import SECONDS, WARM_UP_SECONDS
from tools.bootstrap.console import step
from tools.cli.pulumi_command import Pulumi
from workloads.engines.base import RunRequest, RunResult, StepState
from workloads.engines.factory import create_engine
from workloads.engines.local_engine import EmbeddedEngine
from workloads.ml import model_registry
from workloads.ml.model.model_directory import save_model_directory
from workloads.mlflow_session import mlflow_session
from workloads.runs.arguments import add_run_parameters

ROUNDS = 3
RUN_TYPE = "pulumi-python:dynamic/workloads:PipelineRun"
PACKAGE_TYPE = "pulumi-python:dynamic/workloads:CompiledPipeline"
KEPT = {"baseline": 1.0}
"""Arguments that keep a pipeline from deploying its model."""


@dataclass(frozen=True)
class Ran:
    """The number of a pipeline's steps, and seconds: of the steps alone, of the local run, of the engine's run."""

    steps: int
    own: float
    here: float
    there: float

    @property
    def over_own(self) -> float:
        """Return the seconds for each step that the engine adds to the compute time of the step."""
        return (self.there - self.own) / self.steps


@dataclass(frozen=True)
class InCluster:
    """Results: rounds of the Service and of the local server, the engine's name, and the runs by pipeline."""

    stack: str
    engine: str
    service: list[Figures]
    here: list[Figures]
    runs: dict[str, Ran]


def measure(pulumi: Pulumi, outputs: Mapping[str, Any], folder: Path) -> InCluster:
    """Measure a stack with these outputs; `folder` receives logs and the results of local runs.

    Raises:
        RuntimeError: the Service answers otherwise than the model that it is to serve, or a run failed.
    """
    state = json.loads(pulumi.output("stack", "export", "--show-secrets"))["deployment"]["resources"]
    resources = [(resource["type"], _plain(resource["outputs"])) for resource in state if "outputs" in resource]
    packages = {outputs["pipeline"]: outputs["ir"] for kind, outputs in resources if kind == PACKAGE_TYPE}
    runs = {
        outputs["pipeline"]: outputs | {"ir": packages[outputs["pipeline"]]}
        for kind, outputs in resources
        if kind == RUN_TYPE and outputs["state"] == "SUCCEEDED"
    }
    access = next(iter(runs.values()))
    service, here = _served(outputs, access, folder)
    return InCluster(
        stack=pulumi.stack,
        engine=access["engine"]["kind"],
        service=service,
        here=here,
        runs={name: _ran(found, folder) for name, found in sorted(runs.items())},
    )


def _served(outputs: Mapping[str, Any], run: Mapping[str, Any], folder: Path) -> tuple[list[Figures], list[Figures]]:
    directory = folder / "champion"
    with mlflow_session(parse_tracking_access(run["access"])) as url:
        champion = model_registry.fetch(url, outputs["model"]["name"], outputs["model"]["version"])
    save_model_directory(directory, champion.onnx, champion.signature)
    local = ours(directory)
    address = urlsplit(outputs["score_url"])
    service = replace(local, name="service", host=address.hostname, port=address.port, path=address.path)
    bodies = folder / "service.jsonl"
    bodies.write_text("".join(json.dumps(local.body(flower)) + "\n" for flower in FLOWERS))
    found: dict[str, list[Figures]] = {service.name: [], local.name: []}
    for number in range(1, ROUNDS + 1):
        with running(local, folder):
            _require_same_answers(service, local)
            for server in (service, local):
                with step(f"Round {number}: {server.name}"):
                    load(server.url, bodies, WARM_UP_SECONDS)
                    found[server.name].append(load(server.url, bodies, SECONDS))
    return found[service.name], found[local.name]


def _require_same_answers(one: Server, other: Server) -> None:
    """Raise RuntimeError if two responses differ in more than the name of the version."""
    for flower in FLOWERS[::10]:
        body = json.dumps(one.body(flower))
        answers = [json.loads(text) | {"model_version": status} for status, text in (one.post(body), other.post(body))]
        if answers[0] != answers[1]:
            raise RuntimeError(f"{one.url} and the model that it is to serve answer differently to {body}: {answers}")


def _ran(run: Mapping[str, Any], folder: Path) -> Ran:
    name = run["pipeline"]
    takes = run["declared_parameters"]
    arguments = run["arguments"] | {key: value for key, value in KEPT.items() if key in takes}
    # The cache would answer a step that ran on the same input before.
    package = run["ir"].replace("enableCache: true", "enableCache: false")
    local = EmbeddedEngine(EmbeddedEngineConfig(str(folder)))
    theirs = create_engine(parse_engine_config(run["engine"] | {"directory": str(folder)}))
    with step(f"{name} on this computer"), mlflow_session(parse_tracking_access(run["access"])) as url:
        here, here_seconds = _timed(local, run, arguments, package, url)
    with step(f"{name} by the engine {run['engine']['kind']}"):
        there, there_seconds = _timed(theirs, run, arguments, package, run["steps_tracking_url"])
    if len(here.steps) != len(there.steps):
        raise RuntimeError(f"{name} took {len(here.steps)} steps here and {len(there.steps)} there")
    if cached := [each["name"] for each in there.steps if each["state"] == StepState.CACHED]:
        raise RuntimeError(f"{name} did not run all of its steps: {', '.join(cached)} came from a cache")
    return Ran(len(here.steps), sum(each["seconds"] for each in here.steps), here_seconds, there_seconds)


def _timed(
    by: Any, run: Mapping[str, Any], arguments: Mapping[str, Any], package: str, tracking_url: str
) -> tuple[RunResult, float]:
    key = uuid.uuid4().hex
    name, minutes = run["pipeline"], int(run["timeout_minutes"])
    run_id = f"bench-{name}-{key[:8]}"
    version = by.upload(name, f"bench-{key[:8]}", package, sorted(run["secrets"]), minutes)
    try:
        request = RunRequest(
            pipeline=name,
            run_id=run_id,
            version_id=version,
            arguments=add_run_parameters(arguments, run["declared_parameters"], run_id, tracking_url),
            secrets=run["secrets"],
            key=key,
            tracking_url=tracking_url,
            timeout_minutes=minutes,
        )
        start = time.monotonic()
        result = by.run(request)
        seconds = time.monotonic() - start
    finally:
        by.remove(version)
    if not result.succeeded:
        raise RuntimeError(f"{run_id} failed: {result.error}\nThe whole log: {result.log}")
    return result, seconds


def _plain(value: Any) -> Any:
    """Return a value of the state with its secrets in plain text."""
    if isinstance(value, dict):
        if value.get(rpc._special_sig_key) == rpc._special_secret_sig:
            return json.loads(value["plaintext"])
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list) else value
