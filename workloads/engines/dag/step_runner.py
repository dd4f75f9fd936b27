"""Execution of one step on this computer: an importer, or a function in a process of kfp's executor."""

from __future__ import annotations

import asyncio
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workloads.engines.base import StepState
from workloads.engines.dag.artifact_files import Artifact, ArtifactFiles, artifact_scheme
from workloads.engines.dag.parameter_values import (
    ParameterError,
    fill_placeholders,
    require_exact,
    require_short,
    typed,
)
from workloads.engines.dag.run_log import RunLog, StepLog
from workloads.engines.dag.step_environment import EnvironmentFailure, StepEnvironments
from workloads.engines.dag.step_process import run_process

OUTPUT_FILE = "executor_output.json"
RETRY_DEFAULTS: dict[str, Any] = {"backoffDuration": "0s", "backoffFactor": 2.0, "backoffMaxDuration": "3600s"}


class StepFailure(Exception):
    """A step that failed in its last attempt; the message is the end of its log."""


@dataclass(frozen=True)
class Outputs:
    """Parameters and artifacts that a task has as inputs or gives as outputs, by name."""

    parameters: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, list[Artifact]] = field(default_factory=dict)


class StepRunner:
    """Runner of steps.

    Args:
        executors: the executors of the package by their label.
        folder: the folder for the outputs of all steps.
        scratch: the folder for temporary files.
        constants: the texts of the placeholders without a name.
        parallel_steps: the number of steps that run at the same time, at most.
    """

    def __init__(
        self,
        executors: Mapping[str, Any],
        folder: Path,
        scratch: Path,
        log: RunLog,
        constants: Mapping[str, str],
        parallel_steps: int,
    ) -> None:
        self._executors = executors
        self._folder = folder
        self._log = log
        self._constants = constants
        self._free = asyncio.Semaphore(parallel_steps)
        self._environments = StepEnvironments(scratch)
        self._files = ArtifactFiles(scratch / "imported")

    async def run(
        self, name: str, component: Mapping[str, Any], inputs: Outputs, retry_policy: Mapping[str, Any]
    ) -> Outputs:
        """Run a step, with its retries, and return its outputs.

        Raises:
            StepFailure: the last attempt failed.
        """
        policy = RETRY_DEFAULTS | dict(retry_policy)
        pause, longest = _seconds(policy["backoffDuration"]), _seconds(policy["backoffMaxDuration"])
        for retries_left in range(policy.get("maxRetryCount", 0), -1, -1):
            async with self._free:
                log = self._log.start(name)
                try:
                    outputs = await self._attempt(log, component, inputs)
                except (ParameterError, EnvironmentFailure, OSError) as error:
                    log.write(str(error))
                    outputs = None
                log.end(StepState.SUCCEEDED if outputs else StepState.FAILED)
            if outputs:
                return outputs
            if retries_left:
                await asyncio.sleep(min(pause, longest))
                pause *= policy["backoffFactor"]
        raise StepFailure(log.error)

    async def _attempt(self, log: StepLog, component: Mapping[str, Any], inputs: Outputs) -> Outputs | None:
        """Run a step once and return its outputs; None if it failed."""
        executor = self._executors[component["executorLabel"]]
        own = dict(self._constants) | {
            "{{$.pipeline_task_name}}": log.step.name.rpartition("/")[2].partition(":")[0],
            "{{$.pipeline_task_uuid}}": str(uuid.uuid4()),
        }
        declared = component.get("outputDefinitions", {})
        if "importer" in executor:
            outputs = Outputs(artifacts={"artifact": [_imported(executor["importer"], own, inputs)]})
        else:
            folder = self._folder / log.step.name.replace(":", "/")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            local = replace(inputs, artifacts=await self._files.localize(inputs.artifacts))
            request = _executor_input(component, local, folder, own)
            if await self._execute(log, executor["container"], request, own):
                return None
            outputs = await asyncio.to_thread(_read_outputs, declared, folder)
        log.step.parameters = outputs.parameters
        log.step.artifacts = [
            {"name": name, "type": each["type"]["schemaTitle"], "uri": each["uri"], "metadata": each["metadata"]}
            for name, artifacts in outputs.artifacts.items()
            for each in artifacts
        ]
        return outputs

    async def _execute(
        self, log: StepLog, container: Mapping[str, Any], request: Mapping[str, Any], constants: Mapping[str, str]
    ) -> int:
        """Run the command of a step and return its exit code."""
        values = request["inputs"]["parameterValues"]
        command = [
            fill_placeholders(part, constants, values).replace("{{$}}", json.dumps(request))
            for part in [*container["command"], *container.get("args", [])]
        ]
        variables = {
            each["name"]: fill_placeholders(each["value"], constants, values) for each in container.get("env", [])
        }
        texts = [*command, *(f"{name}={value}" for name, value in variables.items())]
        require_short(f"step {log.step.name}", texts, values | request["inputs"]["artifacts"])
        async with self._environments.prepare(container) as environment:
            return await run_process(command, {**environment, **variables}, log.write)


def _executor_input(
    component: Mapping[str, Any], inputs: Outputs, folder: Path, constants: Mapping[str, str]
) -> dict[str, Any]:
    """Return the request to kfp's executor for a step with outputs in `folder`."""
    declared = component.get("outputDefinitions", {})
    return {
        "inputs": {
            "parameterValues": inputs.parameters,
            "artifacts": {name: {"artifacts": artifacts} for name, artifacts in inputs.artifacts.items()},
        },
        "outputs": {
            "parameters": {name: {"outputFile": str(folder / name)} for name in declared.get("parameters", {})},
            "artifacts": {
                name: {
                    "artifacts": [
                        {"name": name, "type": spec["artifactType"], "uri": str(folder / name), "metadata": {}}
                    ]
                }
                for name, spec in declared.get("artifacts", {}).items()
            },
            "outputFile": str(folder / OUTPUT_FILE),
        },
    }


def _read_outputs(declared: Mapping[str, Any], folder: Path) -> Outputs:
    """Return the outputs that a step wrote.

    Raises:
        ParameterError: an output has the wrong type.
    """
    file = folder / OUTPUT_FILE
    written = json.loads(file.read_text()) if file.is_file() else {}
    outputs = Outputs()
    for name, spec in declared.get("parameters", {}).items():
        value = written.get("parameterValues", {}).get(name)
        if (own_file := folder / name).is_file():  # an output of the type dsl.OutputPath
            value = _read_parameter(name, own_file.read_text(), spec["parameterType"])
        if value is not None:
            value = typed(f"the output {name}", value, spec["parameterType"])
            outputs.parameters[name] = float(value) if spec["parameterType"] == "NUMBER_DOUBLE" else value
    for name, artifacts in written.get("artifacts", {}).items():
        outputs.artifacts[name] = [
            _written_artifact(each, declared["artifacts"][name]["artifactType"], folder / name)
            for each in artifacts["artifacts"]
        ]
    return outputs


def _read_parameter(name: str, text: str, parameter_type: str) -> Any:
    if parameter_type == "STRING":
        return text
    try:
        return json.loads(text.lower() if parameter_type == "BOOLEAN" else text)
    except ValueError:
        raise ParameterError(f"the output {name} is {text!r}, but must be of the type {parameter_type}") from None


def _written_artifact(artifact: Mapping[str, Any], artifact_type: Mapping[str, str], place: Path) -> Artifact:
    metadata = artifact.get("metadata", {})
    require_exact(f"the metadata of the output {place.name}", metadata)
    if own_path := artifact.get("custom_path"):  # the step wrote elsewhere, with `artifact.set_path`
        copy = shutil.copytree if Path(own_path).is_dir() else shutil.copy2
        copy(own_path, place)
    return {
        "name": artifact.get("name") or place.name,
        "type": dict(artifact_type),
        "uri": artifact["uri"],
        "metadata": metadata,
    }


def _imported(importer: Mapping[str, Any], constants: Mapping[str, str], inputs: Outputs) -> Artifact:
    """Return the artifact of an importer.

    Raises:
        ParameterError: the engine cannot read the artifact's address.
    """
    source = importer["artifactUri"]
    uri = inputs.parameters["uri"] if "runtimeParameter" in source else source["constant"]
    address = fill_placeholders(uri, constants, inputs.parameters)
    artifact_scheme(address)
    metadata = fill_placeholders(importer.get("metadata", {}), constants, inputs.parameters)
    return {
        "name": "artifact",
        "type": dict(importer["typeSchema"]),
        "uri": address,
        "metadata": typed("the metadata of the artifact", metadata, "STRUCT"),
    }


def _seconds(duration: str) -> float:
    return float(duration.removesuffix("s"))
