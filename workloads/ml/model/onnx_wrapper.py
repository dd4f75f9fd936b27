"""From an ONNX file of any other tool to a model directory that can be registered and served.

The file gets the input and the outputs that the model server needs. Its own nodes stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from workloads.ml.data.table import load_description, load_table
from workloads.ml.data.target import Task
from workloads.ml.errors import StepError
from workloads.ml.model.model_directory import (
    build_signature,
    load_model_directory,
    require_servable,
    save_model_directory,
)

PREFIX = "foreign:"
"""Prefix of the file's own names, so that they differ from those of the model server."""
PROBABILITIES, LOGITS = "probabilities", "logits"
CHECKED_ROWS = 1000
"""Training rows whose predictions are checked, about."""


@dataclass(frozen=True)
class ForeignOutputs:
    """The meaning of an ONNX file's outputs, as the parameter `outputs` has it.

    Attributes:
        name: Name of the output; it may be absent if there is only one.
        holds: Of a classification, `probabilities`, or `logits` before a softmax or, of one column, a sigmoid.
        classes: Classes in the order of the output's columns; of one column, the last one is what it is high for.
        threshold: Of an anomaly detection, the score above which a row is an anomaly.
    """

    name: str = ""
    holds: str = PROBABILITIES
    classes: Sequence[str] = ()
    threshold: float | None = None

    @classmethod
    def from_mapping(cls, outputs: dict[str, Any]) -> ForeignOutputs:
        """Return the outputs that the parameter describes.

        Raises:
            StepError: A key is unknown, or a value is invalid.
        """
        allowed = [field.name for field in fields(cls)]
        if unknown := sorted(set(outputs) - set(allowed)):
            raise StepError(f"outputs: there is no {', '.join(unknown)}; the keys are: {', '.join(allowed)}")
        found = cls(**outputs)
        if not isinstance(found.classes, list | tuple) or not all(isinstance(name, str) for name in found.classes):
            raise StepError(f"outputs.classes: {found.classes!r}; it must be a list of texts; quote numbers")
        if found.threshold is not None and type(found.threshold) not in (int, float):
            raise StepError(f"outputs.threshold: {found.threshold!r}; it must be a number")
        if found.holds not in (PROBABILITIES, LOGITS):
            raise StepError(f"outputs.holds: {found.holds!r}; it must be {PROBABILITIES} or {LOGITS}")
        return found


def wrap_onnx(content: bytes, train: str, folder: Path, model_name: str, outputs: ForeignOutputs) -> str:
    """Write the model directory of an ONNX file, and return a sentence about it.

    Args:
        content: The file; its only input is float [rows, features], in the order of the table's columns.
        train: Path of the training part, which the profile of the model describes.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.
        outputs: The meaning of its outputs.

    Raises:
        StepError: The file cannot be read, or does not fit the table.
    """
    description = load_description(train)
    rows, _ = load_table(train)
    task = Task(description["task"])
    width = len(description["targets"]) if task is Task.REGRESSION else len(description["classes"])
    adapted = _adapt(content, task, rows.shape[1], width, _class_order(outputs, description["classes"], task), outputs)
    save_model_directory(folder, adapted, build_signature(model_name, adapted, rows, description))
    require_servable(load_model_directory(folder), rows[:: max(1, len(rows) // CHECKED_ROWS)])
    return f"{len(content)} bytes of ONNX, a {task} of {rows.shape[1]} features"


def _class_order(outputs: ForeignOutputs, classes: Sequence[str], task: Task) -> list[int]:
    """Return the column of each class of the table in the file's output."""
    if task is not Task.CLASSIFICATION:
        if outputs.classes or outputs.holds != PROBABILITIES:
            raise StepError(f"outputs: classes and holds are for a classification, and the task is {task}")
        return []
    if not outputs.classes:
        raise StepError(
            f"outputs.classes: empty; write the classes in the order of the model's columns; the table has: "
            f"{', '.join(classes)}"
        )
    if sorted(outputs.classes) != sorted(classes):
        raise StepError(
            f"outputs.classes: {', '.join(map(str, outputs.classes))}; the classes of the table are: "
            f"{', '.join(classes)}"
        )
    return [list(outputs.classes).index(name) for name in classes]


def _adapt(
    content: bytes, task: Task, features: int, width: int, order: Sequence[int], outputs: ForeignOutputs
) -> bytes:
    """Return the model with the input `features` and the outputs of the task."""
    import onnx
    from onnx import TensorProto, helper
    from onnx.compose import add_prefix

    try:
        model = onnx.load_model_from_string(content)
        _require_own_weights(model)
        onnx.checker.check_model(model)
        model = add_prefix(model, PREFIX)
    except StepError:
        raise
    except Exception as error:  # protobuf's and ONNX's errors have no common base class
        raise StepError(f"the model cannot be read as ONNX: {str(error).splitlines()[0][:200]}") from None
    graph = model.graph
    initialized = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in initialized]
    if len(inputs) != 1:
        names = ", ".join(each.name.removeprefix(PREFIX) for each in inputs)
        raise StepError(f"the model has {len(inputs)} inputs ({names}); it must have one, of shape [rows, {features}]")
    kind, shape = inputs[0].type.tensor_type.elem_type, _shape(inputs[0])
    if not _holds_floats(inputs[0]):
        raise StepError("the model's input holds no floating-point numbers")
    if len(shape) != 2 or shape[1] not in (0, features) or shape[0]:
        raise StepError(
            f"the model's input has the shape {_text(shape)}; it must be [rows, {features}], with any number of rows"
        )
    source = _chosen_output(graph.output, outputs.name)
    columns = _columns(source, task, width)
    tail = _Tail()
    tail.add("Cast", [source.name], "numbers", to=TensorProto.FLOAT)
    if task is Task.CLASSIFICATION:
        tail.add_classes(columns, order, outputs.holds, width)
    elif task is Task.REGRESSION:
        tail.add("Reshape", ["numbers", tail.constant([-1, width])], "value")
        tail.declare("value", TensorProto.FLOAT, [None, width])
    else:
        if outputs.threshold is None:
            raise StepError("outputs.threshold: empty; write the score above which a row is an anomaly")
        tail.add("Reshape", ["numbers", tail.constant([-1])], "score")
        tail.add("Greater", ["score", tail.constant(float(outputs.threshold))], "anomaly")
        tail.declare("anomaly", TensorProto.BOOL, [None])
        tail.declare("score", TensorProto.FLOAT, [None])
    nodes = [helper.make_node("Cast", ["features"], [inputs[0].name], to=kind), *graph.node, *tail.nodes]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tail.constants)
    graph.input.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, features]))
    graph.output.extend(tail.outputs)
    return bytes(model.SerializeToString(deterministic=True))


class _Tail:
    """Nodes behind the file's own, from its output `numbers` to the outputs of a task."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.outputs: list[Any] = []

    def add(self, operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> None:
        """Add a node with one output."""
        from onnx import helper

        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))

    def constant(self, value: Any) -> str:
        """Add an initializer of int64 or float32; return its name."""
        from onnx import numpy_helper

        array = np.array(value)
        name = f"constant:{len(self.constants)}"
        self.constants.append(
            numpy_helper.from_array(array.astype({"i": np.int64, "f": np.float32}[array.dtype.kind]), name)
        )
        return name

    def declare(self, name: str, kind: int, shape: Sequence[int | None]) -> None:
        """Make a value an output of the model."""
        from onnx import helper

        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def add_classes(self, columns: int, order: Sequence[int], holds: str, width: int) -> None:
        """Add the outputs of a classification, with the columns in the order of the table's classes."""
        from onnx import TensorProto

        ordered = "numbers"
        if columns == 1:
            self.add("Reshape", ["numbers", self.constant([-1, 1])], "column")
            self.add("Sigmoid" if holds == LOGITS else "Identity", ["column"], "high")
            self.add("Sub", [self.constant(1.0), "high"], "low")
            self.add("Concat", ["low", "high"], "both", axis=1)
            ordered = "both"
        elif holds == LOGITS:
            self.add("Softmax", ["numbers"], "normalized", axis=1)
            ordered = "normalized"
        self.add("Gather", [ordered, self.constant(list(order))], "probabilities", axis=1)
        self.add("ArgMax", ["probabilities"], "label", axis=1, keepdims=0)
        self.declare("label", TensorProto.INT64, [None])
        self.declare("probabilities", TensorProto.FLOAT, [None, width])


def _chosen_output(outputs: Sequence[Any], name: str) -> Any:
    names = [output.name.removeprefix(PREFIX) for output in outputs]
    if name not in names and (name or len(names) != 1):
        raise StepError(f"outputs.name: {name or 'empty'}; the outputs of the model are: {', '.join(names)}")
    return outputs[names.index(name) if name else 0]


def _columns(output: Any, task: Task, width: int) -> int:
    """Return the number of columns of the chosen output; 0 if the file does not say it.

    Raises:
        StepError: The output holds no numbers, or another number of columns than the task has.
    """
    from onnx import TensorProto

    name, kind = output.name.removeprefix(PREFIX), output.type.tensor_type.elem_type
    is_whole = task is not Task.CLASSIFICATION and kind not in (TensorProto.UNDEFINED, TensorProto.STRING)
    if not (_holds_floats(output) or is_whole):
        raise StepError(
            f"outputs.name: {name} holds no floating-point numbers; name an output that does; skl2onnx writes "
            "probabilities as numbers with the option zipmap=False"
        )
    shape = _shape(output)
    columns = shape[1] if len(shape) > 1 else 1
    allowed, expected = {
        Task.CLASSIFICATION: ({width, 1} if width == 2 else {width}, f"the table has {width} classes"),
        Task.REGRESSION: ({width}, f"the table has {width} target{'s' * (width > 1)}"),
        Task.ANOMALY: ({1}, "an anomaly detection has one score"),
    }[task]
    if columns not in {0, *allowed}:
        raise StepError(f"the model's output has {columns} column{'s' * (columns > 1)}, and {expected}")
    return columns


def _holds_floats(value: Any) -> bool:
    """Return True if an input or output is a tensor of floating-point numbers."""
    from onnx import TensorProto

    return value.type.tensor_type.elem_type in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16)


def _require_own_weights(model: Any) -> None:
    """Require a model whose weights are in its file."""
    from onnx import TensorProto

    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            file = next((each.value for each in tensor.external_data if each.key == "location"), "")
            raise StepError(
                f"the model keeps its weights in another file, {file}; write it as one file, in PyTorch by "
                "torch.onnx.export(..., external_data=False)"
            )


def _shape(value: Any) -> list[int]:
    """Return the shape of an input or output; 0 stands for any length."""
    return [int(dimension.dim_value) for dimension in value.type.tensor_type.shape.dim]


def _text(shape: Sequence[int]) -> str:
    return f"[{', '.join(str(length or 'any') for length in shape)}]"
