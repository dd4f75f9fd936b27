"""Graph of a run: the pipeline's package joined with the executions in ML Metadata."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict

from workloads.engines.base import StepState
from workloads.engines.dag.package_repair import GROUPS
from workloads.engines.kubeflow.metadata_pb2 import Artifact, Execution, Value
from workloads.ml.artifact_metadata import KFP_PROPERTIES

STATES = {
    Execution.COMPLETE: StepState.SUCCEEDED,
    Execution.CACHED: StepState.CACHED,
    Execution.FAILED: StepState.FAILED,
}


class RunGraph:
    """Executions of one run. A DAG is an execution of a component with tasks: the pipeline, a condition or a loop.

    Args:
        package: the pipeline (IR), parsed from YAML.
        executions: the executions, oldest first. Kubeflow Pipelines marks a DAG with a false condition as CANCELED.
    """

    def __init__(self, package: Mapping[str, Any], executions: Sequence[Execution]) -> None:
        self.executions = executions
        self._package = package
        self._by_id = {execution.id: execution for execution in executions}

    def name(self, execution: Execution) -> str:
        """Return the name of the execution's task; "" for the pipeline itself."""
        return execution.custom_properties["task_name"].string_value if self._parent(execution) else ""

    def step_name(self, execution: Execution) -> str:
        """Return the name of a step that is unique in the run, as `workloads.engines.kfp_runner` builds it."""
        names = [self.name(execution)]
        indices: list[str] = []
        parent = self._parent(execution)
        while parent is not None:
            index = _number(parent, "iteration_index")
            if index is not None:
                indices.insert(0, str(index))
            elif name := self.name(parent):
                names[:0] = [] if name.startswith(GROUPS) else [name]
            parent = self._parent(parent)
        return "/".join(names) + (f":{'.'.join(indices)}" if indices else "")

    def is_step(self, execution: Execution) -> bool:
        """Return True if a pod runs the execution; False for a DAG."""
        return "executorLabel" in self.component(execution)

    def component(self, execution: Execution) -> Mapping[str, Any]:
        """Return the execution's component in the package."""
        parent = self._parent(execution)
        if parent is None:
            return dict(self._package["root"])
        if _number(execution, "iteration_index") is not None and _number(parent, "iteration_count") is not None:
            return self.component(parent)  # one iteration of a loop
        task = self.component(parent)["dag"]["tasks"][self.name(execution)]
        return dict(self._package["components"][task["componentRef"]["name"]])

    def steps_below(self, component: Mapping[str, Any]) -> Iterator[str]:
        """Yield the names of the tasks in a DAG and its inner DAGs that run in pods."""
        for name, task in component["dag"]["tasks"].items():
            inner = self._package["components"][task["componentRef"]["name"]]
            if "dag" in inner:
                yield from self.steps_below(inner)
            else:
                yield name

    def steps(self, artifacts: Mapping[int, Mapping[str, Artifact]]) -> list[dict[str, Any]]:
        """Return the executed steps of a finished run, in the format of `workloads.engines.kfp_runner`.

        A step that is still running after the end of its run counts as failed: its pod was lost.

        Args:
            artifacts: the result of `MetadataStore.outputs`.
        """
        return [
            {
                "name": self.step_name(execution),
                "state": STATES.get(execution.last_known_state, StepState.FAILED),
                "seconds": seconds(execution),
                "parameters": self._parameters(execution),
                "artifacts": self._artifacts(execution, artifacts.get(execution.id, {})),
            }
            for execution in self.executions
            if self.is_step(execution) and execution.last_known_state != Execution.CANCELED
        ]

    def failed(self) -> Execution | None:
        """Return the step that failed first, else an unfinished step; None if all steps succeeded."""
        successful = (Execution.COMPLETE, Execution.CACHED, Execution.CANCELED)
        failed = [each for each in self.executions if self.is_step(each) and each.last_known_state not in successful]
        return min(
            failed,
            key=lambda each: (each.last_known_state != Execution.FAILED, each.last_update_time_since_epoch),
            default=None,
        )

    def outputs(self, artifacts: Mapping[int, Mapping[str, Artifact]]) -> dict[str, Any]:
        """Return the pipeline's outputs by name: values of parameters, addresses of artifacts."""
        root = next((each for each in self.executions if self._parent(each) is None), None)
        if root is None:
            return {}
        declared = self._package["root"].get("outputDefinitions", {})
        values = {
            name: _typed(value, spec["parameterType"])
            for name, spec in declared.get("parameters", {}).items()
            for value in self._selected(root, "parameters", name, artifacts)
        }
        addresses = {
            name: value
            for name in declared.get("artifacts", {})
            for value in self._selected(root, "artifacts", name, artifacts)
        }
        return values | addresses

    def _selected(
        self, dag: Execution, kind: str, name: str, artifacts: Mapping[int, Mapping[str, Artifact]]
    ) -> list[Any]:
        """Return a list with the output of a DAG's first task that has it; for a loop, a list of all iterations."""
        if _number(dag, "iteration_count") is not None:
            iterations = sorted(self._tasks(dag), key=lambda each: _number(each, "iteration_index") or 0)
            return [[value for each in iterations for value in self._selected(each, kind, name, artifacts)]]
        for task, key in _selectors(self.component(dag)["dag"]["outputs"][kind][name]):
            for execution in self._tasks(dag, task):
                if execution.last_known_state == Execution.CANCELED:
                    continue
                if not self.is_step(execution):
                    return self._selected(execution, kind, key, artifacts)
                if kind == "artifacts" and key in artifacts.get(execution.id, {}):
                    return [artifacts[execution.id][key].uri]
                if kind == "parameters" and key in (values := self._parameters(execution)):
                    return [values[key]]
        return []

    def _parameters(self, execution: Execution) -> dict[str, Any]:
        declared = self.component(execution).get("outputDefinitions", {}).get("parameters", {})
        values = MessageToDict(execution.custom_properties["outputs"].struct_value)
        return {name: _typed(values[name], spec["parameterType"]) for name, spec in declared.items() if name in values}

    def _artifacts(self, execution: Execution, artifacts: Mapping[str, Artifact]) -> list[dict[str, Any]]:
        declared = self.component(execution).get("outputDefinitions", {}).get("artifacts", {})
        return [
            {
                "name": name,
                "type": spec["artifactType"]["schemaTitle"],
                "uri": artifacts[name].uri,
                "metadata": {
                    key: _from_value(value)
                    for key, value in artifacts[name].custom_properties.items()
                    if key not in KFP_PROPERTIES
                },
            }
            for name, spec in declared.items()
            if name in artifacts
        ]

    def _tasks(self, dag: Execution, name: str = "") -> list[Execution]:
        """Return the executions of a DAG's tasks, newest first: a task with a lost driver has several."""
        children = [each for each in self.executions if self._parent(each) is dag]
        return [each for each in reversed(children) if not name or self.name(each) == name]

    def _parent(self, execution: Execution) -> Execution | None:
        number = _number(execution, "parent_dag_id")
        return None if number is None else self._by_id[number]


def seconds(execution: Execution) -> float:
    """Return the seconds from the creation of an execution to its last update."""
    return round((execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000, 1)


def _selectors(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the tasks that may produce an output, each with the name of its output."""
    if "artifactSelectors" in spec:
        return [(each["producerSubtask"], each["outputArtifactKey"]) for each in spec["artifactSelectors"]]
    one_of = spec["valueFromOneof"]["parameterSelectors"] if "valueFromOneof" in spec else [spec["valueFromParameter"]]
    return [(each["producerSubtask"], each["outputParameterKey"]) for each in one_of]


def _number(execution: Execution, name: str) -> int | None:
    properties = execution.custom_properties
    return properties[name].int_value if name in properties else None


def _typed(value: Any, parameter_type: str) -> Any:
    """Return the value as an integer if its type requires it: JSON has floating-point numbers only."""
    return int(value) if parameter_type == "NUMBER_INTEGER" and value is not None else value


def _from_value(value: Value) -> Any:
    kind = value.WhichOneof("value")
    if kind != "struct_value":
        return getattr(value, kind) if kind else None
    # Kubeflow Pipelines wraps a list or a mapping in a struct with one field.
    return next(iter(MessageToDict(value.struct_value).values()), None)
