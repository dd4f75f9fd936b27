"""How a run went, as its pipeline's package and the executions in ML Metadata tell together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict

from workloads.engines.kubeflow.metadata_pb2 import Artifact, Execution, Value
from workloads.ml.artifact_metadata import KFP_PROPERTIES

STATES = {Execution.COMPLETE: "SUCCEEDED", Execution.CACHED: "CACHED", Execution.FAILED: "FAILED"}


class RunGraph:
    """One run. A dag is an execution of a component that is made of tasks: the pipeline itself, a condition, a loop.

    `package` is the pipeline (IR) as parsed from YAML. An execution of a dag whose condition did not hold is CANCELED.
    """

    def __init__(self, package: Mapping[str, Any], executions: Sequence[Execution]) -> None:
        self.executions = executions
        self._package = package
        self._by_id = {execution.id: execution for execution in executions}

    def name(self, execution: Execution) -> str:
        """Of its task; empty for the pipeline itself."""
        return execution.custom_properties["task_name"].string_value if self._parent(execution) else ""

    def is_step(self, execution: Execution) -> bool:
        """Whether a pod does its work; it is a dag otherwise."""
        return "executorLabel" in self.component(execution)

    def component(self, execution: Execution) -> Mapping[str, Any]:
        """What the package says about it."""
        parent = self._parent(execution)
        if parent is None:
            return dict(self._package["root"])
        if _number(execution, "iteration_index") is not None and _number(parent, "iteration_count") is not None:
            return self.component(parent)  # one turn of a loop
        task = self.component(parent)["dag"]["tasks"][self.name(execution)]
        return dict(self._package["components"][task["componentRef"]["name"]])

    def steps_below(self, component: Mapping[str, Any]) -> Iterator[str]:
        """Names of the tasks in a dag, and in those within it, that have a pod of their own."""
        for name, task in component["dag"]["tasks"].items():
            inner = self._package["components"][task["componentRef"]["name"]]
            if "dag" in inner:
                yield from self.steps_below(inner)
            else:
                yield name

    def steps(self, artifacts: Mapping[int, Mapping[str, Artifact]]) -> list[dict[str, Any]]:
        """The steps that ran, as `workloads.engines.kfp_runner` describes them; a cached one is CACHED.

        One that is still running when its run has ended has failed: its pod was lost. `artifacts` are those of
        `MetadataStore.outputs`.
        """
        return [
            {
                "name": self.name(execution),
                "state": STATES.get(execution.last_known_state, "FAILED"),
                "seconds": seconds(execution),
                "parameters": self._parameters(execution),
                "artifacts": self._artifacts(execution, artifacts.get(execution.id, {})),
            }
            for execution in self.executions
            if self.is_step(execution) and execution.last_known_state != Execution.CANCELED
        ]

    def failed(self) -> Execution | None:
        """The step that failed first, or else one that did not end; None where no step did either."""
        ends = (Execution.COMPLETE, Execution.CACHED, Execution.CANCELED)
        bad = [each for each in self.executions if self.is_step(each) and each.last_known_state not in ends]
        return min(
            bad,
            key=lambda each: (each.last_known_state != Execution.FAILED, each.last_update_time_since_epoch),
            default=None,
        )

    def outputs(self, artifacts: Mapping[int, Mapping[str, Artifact]]) -> dict[str, Any]:
        """What the pipeline function returns, by name: values of parameters, addresses of artifacts."""
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
        self, dag: Execution, what: str, name: str, artifacts: Mapping[int, Mapping[str, Artifact]]
    ) -> list[Any]:
        """An output of a dag: of its first task that has it, of every turn of a loop; none where there is none."""
        if _number(dag, "iteration_count") is not None:
            turns = sorted(self._tasks(dag), key=lambda turn: _number(turn, "iteration_index") or 0)
            return [[value for turn in turns for value in self._selected(turn, what, name, artifacts)]]
        for task, key in _selectors(self.component(dag)["dag"]["outputs"][what][name]):
            for execution in self._tasks(dag, task):
                if execution.last_known_state == Execution.CANCELED:
                    continue
                if not self.is_step(execution):
                    return self._selected(execution, what, key, artifacts)
                if what == "artifacts" and key in artifacts.get(execution.id, {}):
                    return [artifacts[execution.id][key].uri]
                if what == "parameters" and key in (values := self._parameters(execution)):
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
                    key: _plain(value)
                    for key, value in artifacts[name].custom_properties.items()
                    if key not in KFP_PROPERTIES
                },
            }
            for name, spec in declared.items()
            if name in artifacts
        ]

    def _tasks(self, dag: Execution, name: str = "") -> list[Execution]:
        """Executions of a dag's tasks, newest first: a task may have begun again when its driver was lost."""
        mine = [each for each in self.executions if self._parent(each) is dag]
        return [each for each in reversed(mine) if not name or self.name(each) == name]

    def _parent(self, execution: Execution) -> Execution | None:
        number = _number(execution, "parent_dag_id")
        return None if number is None else self._by_id[number]


def seconds(execution: Execution) -> float:
    """How long it took until it was last heard of."""
    return round((execution.last_update_time_since_epoch - execution.create_time_since_epoch) / 1000, 1)


def _selectors(spec: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The tasks that an output may come from, and its name there."""
    if "artifactSelectors" in spec:
        return [(each["producerSubtask"], each["outputArtifactKey"]) for each in spec["artifactSelectors"]]
    one_of = spec["valueFromOneof"]["parameterSelectors"] if "valueFromOneof" in spec else [spec["valueFromParameter"]]
    return [(each["producerSubtask"], each["outputParameterKey"]) for each in one_of]


def _number(execution: Execution, name: str) -> int | None:
    properties = execution.custom_properties
    return properties[name].int_value if name in properties else None


def _typed(value: Any, kind: str) -> Any:
    """A number of JSON is none of Python's integers."""
    return int(value) if kind == "NUMBER_INTEGER" and value is not None else value


def _plain(value: Value) -> Any:
    kind = value.WhichOneof("value")
    if kind != "struct_value":
        return getattr(value, kind) if kind else None
    # Kubeflow Pipelines keeps a list or a mapping as the only field of another.
    return next(iter(MessageToDict(value.struct_value).values()), None)
