"""Run of a compiled pipeline: its tasks in the order of their dependencies, independent ones side by side.

kfp's local runner gives loops in loops, and conditions in loops, the wrong values. This module follows the rules of the
backend of Kubeflow Pipelines instead. A task sees the inputs of its DAG and the outputs of the tasks beside it. Each
iteration of a loop is a separate DAG.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workloads.engines.base import StepState
from workloads.engines.dag.artifact_files import Artifact
from workloads.engines.dag.expressions import ExpressionError, parse_condition, select
from workloads.engines.dag.loops import Loop, LoopRunner, TaskResult
from workloads.engines.dag.package_repair import GROUPS
from workloads.engines.dag.parameter_values import ParameterError, fill_placeholders, parameter_text, typed
from workloads.engines.dag.run_log import RunLog
from workloads.engines.dag.step_runner import Outputs, StepFailure, StepRunner

TASK_NAME = "{{$.pipeline_task_name}}"
EXIT_STRATEGY = "ALL_UPSTREAM_TASKS_COMPLETED"


@dataclass(frozen=True)
class Scope:
    """DAG that runs: its inputs, and the results of its tasks.

    Args:
        pipelines: the names of the tasks around it that are pipelines.
        iteration: the indices of the iterations around it, outermost first.
    """

    inputs: Outputs
    pipelines: tuple[str, ...] = ()
    iteration: tuple[int, ...] = ()
    results: dict[str, asyncio.Task[TaskResult]] = field(default_factory=dict)

    def step_name(self, task: str) -> str:
        """Return the name of a task that is unique in the run."""
        indices = ":" + ".".join(map(str, self.iteration)) if self.iteration else ""
        return "/".join([*self.pipelines, task]) + indices


class DagRun:
    """Run of one package.

    Args:
        package: the pipeline (IR), parsed from YAML.
        runner: runs the steps.
        constants: the texts of the placeholders without a name.
        loops: runs the loops that are in no other loop; None if this process runs them.
    """

    def __init__(
        self,
        package: Mapping[str, Any],
        runner: StepRunner,
        log: RunLog,
        constants: Mapping[str, str],
        loops: LoopRunner | None = None,
    ) -> None:
        self._package = package
        self._runner = runner
        self._log = log
        self._constants = constants
        self._loops = loops

    async def run(self, arguments: Mapping[str, Any]) -> TaskResult:
        """Run the pipeline and return its result."""
        root = self._package["root"]
        declared = root.get("inputDefinitions", {}).get("parameters", {})
        if unknown := sorted(set(arguments) - set(declared)):
            raise ParameterError(f'the pipeline has no parameter "{unknown[0]}"; it has: {", ".join(sorted(declared))}')
        values = _with_defaults(arguments, declared)
        required = [name for name, spec in declared.items() if values[name] is None and not spec.get("isOptional")]
        if required:
            raise ParameterError(f"the parameter {required[0]} of the pipeline has no value")
        return await self._run_dag(root, Scope(Outputs(values)))

    async def run_iteration(self, loop: Loop, index: int) -> TaskResult:
        """Run one iteration of a loop and return its result."""
        scope = Scope(Outputs(loop.iterations[index]), loop.pipelines, (index,))
        return await self._run_dag(self._package["components"][loop.component], scope)

    async def _run_dag(self, component: Mapping[str, Any], scope: Scope) -> TaskResult:
        for name, task in component["dag"]["tasks"].items():
            scope.results[name] = asyncio.create_task(self._run_task(name, task, scope))
        results = {name: await task for name, task in scope.results.items()}
        if any(result.state == StepState.FAILED for result in results.values()):
            return TaskResult(StepState.FAILED)
        return TaskResult(StepState.SUCCEEDED, _dag_outputs(component["dag"], results))

    async def _run_task(self, name: str, task: Mapping[str, Any], scope: Scope) -> TaskResult:
        before = [(await scope.results[each]).state for each in sorted(_dependencies(task))]
        policy = task.get("triggerPolicy", {})
        if policy.get("strategy") != EXIT_STRATEGY:
            if StepState.FAILED in before or self._is_failing(scope):
                return TaskResult(StepState.FAILED)
            if StepState.SKIPPED in before:
                return TaskResult(StepState.SKIPPED)
        component = self._package["components"][task["componentRef"]["name"]]
        try:
            inputs = self._inputs(name, task, component, scope)
            if "condition" in policy and not parse_condition(policy["condition"])(inputs.parameters):
                return TaskResult(StepState.SKIPPED)
            if "parameterIterator" in task:
                return await self._run_loop(task, component, inputs, scope)
            if "dag" in component:
                inner = scope.pipelines if name.startswith(GROUPS) else (*scope.pipelines, name)
                return await self._run_dag(component, Scope(inputs, inner, scope.iteration))
            outputs = await self._runner.run(scope.step_name(name), component, inputs, task.get("retryPolicy", {}))
            return TaskResult(StepState.SUCCEEDED, outputs)
        except (ExpressionError, ParameterError, StepFailure) as failure:
            self._log.fail(scope.step_name(name), str(failure))
            return TaskResult(StepState.FAILED)

    async def _run_loop(
        self, task: Mapping[str, Any], component: Mapping[str, Any], inputs: Outputs, scope: Scope
    ) -> TaskResult:
        iterator = task["parameterIterator"]
        item_type = component["inputDefinitions"]["parameters"][iterator["itemInput"]]["parameterType"]
        items = [
            typed(f"item {index} of the loop", item, item_type)
            for index, item in enumerate(_items(iterator["items"], inputs.parameters))
        ]
        iterations = [{**inputs.parameters, iterator["itemInput"]: item} for item in items]
        parallel = task.get("iteratorPolicy", {}).get("parallelismLimit") or 0
        declared = component.get("outputDefinitions", {})
        if self._loops and len(items) > 1 and not (scope.iteration or inputs.artifacts or declared.get("artifacts")):
            loop = Loop(task["componentRef"]["name"], scope.pipelines, iterations, parallel)
            results = await self._loops.run(loop, self._log)
        else:
            results = await self._run_iterations(component, iterations, parallel, inputs, scope)
        if any(result.state == StepState.FAILED for result in results):
            return TaskResult(StepState.FAILED)
        collected = [result.outputs for result in results]
        return TaskResult(
            StepState.SUCCEEDED,
            Outputs(
                {
                    name: [each.parameters[name] for each in collected if name in each.parameters]
                    for name in declared.get("parameters", {})
                },
                {
                    name: [artifact for each in collected for artifact in each.artifacts.get(name, [])]
                    for name in declared.get("artifacts", {})
                },
            ),
        )

    async def _run_iterations(
        self,
        component: Mapping[str, Any],
        iterations: list[dict[str, Any]],
        parallel: int,
        inputs: Outputs,
        scope: Scope,
    ) -> list[TaskResult]:
        """Run the iterations of a loop in this process; none starts after one has failed."""
        limit = asyncio.Semaphore(parallel or max(1, len(iterations)))
        failing = False

        async def run_iteration(index: int, parameters: dict[str, Any]) -> TaskResult:
            nonlocal failing
            async with limit:
                if failing:
                    return TaskResult(StepState.FAILED)
                own = Scope(Outputs(parameters, inputs.artifacts), scope.pipelines, (*scope.iteration, index))
                result = await self._run_dag(component, own)
                failing = failing or result.state == StepState.FAILED
                return result

        return await asyncio.gather(*(run_iteration(index, each) for index, each in enumerate(iterations)))

    def _is_failing(self, scope: Scope) -> bool:
        """Return True if a task of the DAG has failed: no further task starts, except exit handlers."""
        return any(task.done() and task.result().state == StepState.FAILED for task in scope.results.values())

    def _inputs(self, task_name: str, task: Mapping[str, Any], component: Mapping[str, Any], scope: Scope) -> Outputs:
        """Return the inputs of a task.

        Parameters that the component does not declare are inputs of placeholders only.
        """
        given = task.get("inputs", {})
        declared = component.get("inputDefinitions", {}).get("parameters", {})
        values = {}
        for name, source in given.get("parameters", {}).items():
            value = self._parameter(source, scope)
            if value is not None and (selector := source.get("parameterExpressionSelector")):
                value = select(value, selector)
            values[name] = value
        constants = {**self._constants, TASK_NAME: task_name}
        values = {name: fill_placeholders(value, constants, values) for name, value in values.items()}
        parameters = {
            name: typed(name, value, declared[name]["parameterType"]) if name in declared else value
            for name, value in values.items()
            if value is not None
        }
        if "dag" in component:
            parameters = _with_defaults(parameters, declared)
        elif missing := [name for name in declared if name not in parameters and not declared[name].get("isOptional")]:
            raise ParameterError(f"the input {missing[0]} has no value: the step or parameter that gives it has none")
        artifacts = {name: _artifacts(source, scope) for name, source in given.get("artifacts", {}).items()}
        return Outputs(parameters, {name: found for name, found in artifacts.items() if found})

    def _parameter(self, source: Mapping[str, Any], scope: Scope) -> Any:
        if "runtimeValue" in source:
            return source["runtimeValue"]["constant"]
        if "componentInputParameter" in source:
            name = source["componentInputParameter"]
            if name not in scope.inputs.parameters:
                raise ParameterError(f"the package refers to an input {name} that its DAG does not have")
            return scope.inputs.parameters[name]
        if "taskFinalStatus" in source:
            return self._final_status(source["taskFinalStatus"]["producerTask"], scope)
        producer = source["taskOutputParameter"]
        return scope.results[producer["producerTask"]].result().outputs.parameters.get(producer["outputParameterKey"])

    def _final_status(self, task: str, scope: Scope) -> dict[str, Any]:
        state = scope.results[task].result().state
        error = {"message": self._log.error} if state == StepState.FAILED else {}
        return {
            "state": str(state),
            "pipelineTaskName": task,
            "pipelineJobResourceName": self._constants["{{$.pipeline_job_resource_name}}"],
            "error": error,
        }


def _with_defaults(values: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a DAG's inputs; an input without a value and a default is None."""
    filled = {
        name: spec.get("defaultValue") if values.get(name) is None else values[name] for name, spec in declared.items()
    }
    checked = {
        name: None if value is None else typed(name, value, declared[name]["parameterType"])
        for name, value in filled.items()
    }
    return {**values, **checked}


def _items(items: Mapping[str, Any], parameters: Mapping[str, Any]) -> list[Any]:
    """Return the items of a loop; a list may be a JSON text, such as a field of another loop's item."""
    if "raw" in items:
        return list(json.loads(items["raw"]))
    value = parameters.get(items["inputParameter"])
    try:
        found = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        found = None
    if not isinstance(found, list):
        raise ParameterError(f"a loop needs a list; found: {parameter_text(value)}")
    return found


def _dependencies(task: Mapping[str, Any]) -> set[str]:
    """Return the names of the tasks before a task."""
    inputs = task.get("inputs", {})
    producers = [source.get("taskOutputParameter") for source in inputs.get("parameters", {}).values()]
    producers += [source.get("taskOutputArtifact") for source in inputs.get("artifacts", {}).values()]
    return {*task.get("dependentTasks", []), *(each["producerTask"] for each in producers if each)}


def _artifacts(source: Mapping[str, Any], scope: Scope) -> list[Artifact]:
    if "componentInputArtifact" in source:
        return scope.inputs.artifacts.get(source["componentInputArtifact"], [])
    producer = source["taskOutputArtifact"]
    return scope.results[producer["producerTask"]].result().outputs.artifacts.get(producer["outputArtifactKey"], [])


def _dag_outputs(dag: Mapping[str, Any], results: Mapping[str, TaskResult]) -> Outputs:
    """Return the outputs of a DAG; of several tasks that may give an output, one has run."""
    outputs = Outputs()
    for name, spec in dag.get("outputs", {}).get("parameters", {}).items():
        one_of = (
            spec["valueFromOneof"]["parameterSelectors"] if "valueFromOneof" in spec else [spec["valueFromParameter"]]
        )
        for each in one_of:
            found = results[each["producerSubtask"]].outputs.parameters
            if each["outputParameterKey"] in found:
                outputs.parameters[name] = found[each["outputParameterKey"]]
    for name, spec in dag.get("outputs", {}).get("artifacts", {}).items():
        for each in spec["artifactSelectors"]:
            if artifacts := results[each["producerSubtask"]].outputs.artifacts.get(each["outputArtifactKey"]):
                outputs.artifacts[name] = artifacts
    return outputs
