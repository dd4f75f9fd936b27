"""Executions in the form in which Kubeflow Pipelines writes them to ML Metadata."""

from __future__ import annotations

from itertools import count
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct

from workloads.engines.kubeflow.metadata_pb2 import Artifact, Event, Execution, Value


class FakeRun:
    """Executions of a run; their ids are in the order of their creation."""

    def __init__(self) -> None:
        self.executions: list[Execution] = []
        self.events: list[Event] = []
        self.artifacts: list[Artifact] = []
        self._ids = count(1)

    def dag(self, name: str = "", parent: int = 0, state: str = "RUNNING", **numbers: int) -> int:
        """Add a DAG and return the execution's id; the pipeline itself has neither name nor parent."""
        return self._add(name, parent, state, numbers)

    def step(
        self, name: str, parent: int, state: str = "COMPLETE", outputs: dict[str, Any] | None = None, **more: int
    ) -> int:
        id_ = self._add(name, parent, state, more)
        properties = self.executions[-1].custom_properties
        properties["pod_name"].string_value = f"pod-of-{name}"
        if outputs is not None:
            properties["outputs"].struct_value.CopyFrom(ParseDict(outputs, Struct()))
        return id_

    def artifact(self, execution: int, name: str, uri: str, **metadata: Any) -> None:
        """Add an output artifact of an execution."""
        artifact = Artifact(id=next(self._ids), uri=uri)
        for key, value in {**metadata, "display_name": name, "store_session_info": "{}"}.items():
            artifact.custom_properties[key].CopyFrom(_value(value))
        self.artifacts.append(artifact)
        for kind in (Event.INPUT, Event.OUTPUT):
            event = Event(artifact_id=artifact.id, execution_id=execution, type=kind)
            event.path.steps.add(key=name if kind == Event.OUTPUT else "read")
            self.events.append(event)

    def outputs(self) -> dict[int, dict[str, Artifact]]:
        by_id = {artifact.id: artifact for artifact in self.artifacts}
        outputs: dict[int, dict[str, Artifact]] = {}
        for event in self.events:
            if event.type == Event.OUTPUT:
                outputs.setdefault(event.execution_id, {})[event.path.steps[0].key] = by_id[event.artifact_id]
        return outputs

    def _add(self, name: str, parent: int, state: str, numbers: dict[str, int]) -> int:
        execution = Execution(
            id=next(self._ids),
            last_known_state=Execution.State.Value(state),
            create_time_since_epoch=1_000,
            last_update_time_since_epoch=4_250,
        )
        execution.custom_properties["task_name"].string_value = name
        for key, number in ({"parent_dag_id": parent} if parent else {}).items() | numbers.items():
            execution.custom_properties[key].int_value = number
        # Serialize as on the wire: defaults are then absent.
        self.executions.append(Execution.FromString(execution.SerializeToString()))
        return int(execution.id)


def _value(value: Any) -> Value:
    if isinstance(value, str):
        return Value(string_value=value)
    if isinstance(value, list):
        return Value(struct_value=ParseDict({"list": value}, Struct()))
    return Value(double_value=value)


def iris_external(deployed: bool = True) -> FakeRun:
    """Return a run of the pipeline iris-external, with or without a deployed model."""
    fake_run = FakeRun()
    root = fake_run.dag()
    preprocessed = fake_run.step("preprocess-data", root)
    fake_run.artifact(
        preprocessed, "train", "minio://bucket/train", sha256="ab12", rows=120, columns=5, source="s3://x.csv"
    )
    fake_run.artifact(preprocessed, "test", "minio://bucket/test", rows=30)
    trained = fake_run.step("train-model", root, "CACHED")
    fake_run.artifact(trained, "model", "minio://bucket/model", classes=["setosa", "virginica"])
    tested = fake_run.step("test-model", root, outputs={"passed": deployed, "comparison": "none"})
    fake_run.artifact(tested, "metrics", "minio://bucket/metrics", accuracy=0.9)
    branches = fake_run.dag("condition-branches-1", root)
    good = fake_run.dag("condition-2", branches, "COMPLETE" if deployed else "CANCELED")
    decision = {"score": 0.9, "deployed": deployed, "version": "3" if deployed else "", "decision": "because"}
    if deployed:
        fake_run.step("deploy-model", good, outputs=decision)
    poor = fake_run.dag("condition-3", branches, "CANCELED" if deployed else "COMPLETE")
    if not deployed:
        fake_run.step("keep-model", poor, outputs=decision)
    return fake_run
