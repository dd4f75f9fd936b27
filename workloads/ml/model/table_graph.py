"""The ONNX graph with one input for each column, which encodes cells as `workloads.ml.data.encoding` does.

A category is a text, a date the text of a day such as 2024-02-29. An empty text is a missing value, and so is NaN.
ONNX has no error for a wrong value. The graph gathers from beyond the end of a tensor instead, which fails.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from workloads.ml.data.columns import ColumnType
from workloads.ml.data.encoding import allows_nan
from workloads.ml.data.target import Task
from workloads.ml.model.model_directory import FeatureProfile, ModelDirectory, signature_task, targets_of

PREFIX = "model:"
"""Prefix of names within the graph, so that they differ from names of columns."""
Outputs = dict[str, str]
"""Type of MLflow by name of the output."""
BEYOND = 1 << 40
"""Index that is beyond the end of every tensor."""
DAY = r"\d{4}-\d{2}-\d{2}"
EPOCH = "1970-01-01"


def column_types(feature: FeatureProfile) -> tuple[str, int]:
    """Return the types of a column in MLflow and in ONNX; integers and booleans that may be missing are numbers."""
    from onnx import TensorProto

    kind = ColumnType(feature.get("type", ColumnType.NUMBER))
    if kind in (ColumnType.CATEGORY, ColumnType.DATE):
        return "string", TensorProto.STRING
    if kind is ColumnType.BOOLEAN and not allows_nan(feature):
        return "boolean", TensorProto.BOOL
    if kind is ColumnType.INTEGER and not allows_nan(feature):
        return "long", TensorProto.INT64
    return "double", TensorProto.FLOAT


def build_table_graph(model: ModelDirectory) -> tuple[Any, Outputs]:
    """Return the model with one input for each feature and one output for each column of the predictions."""
    from onnx import helper, load_model_from_string
    from onnx.compose import add_prefix

    features = model.signature["features"]
    original = add_prefix(load_model_from_string(model.onnx), PREFIX)
    shape = [None, 1] if len(features) == 1 else [None]  # MLflow passes a single column as a matrix
    inputs = [helper.make_tensor_value_info(feature["name"], column_types(feature)[1], shape) for feature in features]
    graph = _GraphBuilder({feature["name"] for feature in features})
    columns = [graph.encode(feature) for feature in features]
    joined = graph.node("Concat", *columns, axis=0)
    matrix = graph.node("Reshape", joined, graph.constant([len(features), -1]))
    graph.nodes.append(helper.make_node("Transpose", [matrix], [f"{PREFIX}features"], perm=[1, 0]))
    graph.nodes += original.graph.node
    if signature_task(model.signature) is Task.REGRESSION:
        graph.add_values(targets_of(model.signature))
    elif signature_task(model.signature) is Task.ANOMALY:
        graph.add_anomalies()
    else:
        graph.add_classes(model.signature["classes"])
    made = helper.make_graph(
        graph.nodes, "table", inputs, graph.values, [*original.graph.initializer, *graph.initializers]
    )
    return helper.make_model(made, opset_imports=original.opset_import, ir_version=original.ir_version), graph.outputs


class _GraphBuilder:
    """Nodes of the graph around the model; `names` are those of its inputs."""

    def __init__(self, names: set[str]) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.values: list[Any] = []
        self.outputs: Outputs = {}
        self._names = names

    def node(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """Add a node; return the name of its first output."""
        from onnx import helper

        names = [f"{PREFIX}{operator}:{len(self.nodes)}:{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, **attributes))
        return names[0]

    def constant(self, value: Any) -> str:
        """Add an initializer of float32, int64 or text; return its name."""
        from onnx import numpy_helper

        array = np.array(value)
        kinds = {"f": np.float32, "i": np.int64, "U": object}
        name = f"{PREFIX}constant:{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(array.astype(kinds[array.dtype.kind]), name))
        return name

    def encode(self, feature: FeatureProfile) -> str:
        """Add the encoding of a column; return the name of its float32 values."""
        from onnx import TensorProto

        kind = column_types(feature)[1]
        if feature.get("type") == ColumnType.CATEGORY:
            return self._encode_category(feature)
        if feature.get("type") == ColumnType.DATE:
            return self._encode_date(feature)
        if kind == TensorProto.FLOAT:
            return feature["name"]
        return self.node("Cast", feature["name"], to=TensorProto.FLOAT)

    def _encode_category(self, feature: FeatureProfile) -> str:
        categories = feature["categories"]
        other = len(categories) if allows_nan(feature) else BEYOND
        encoder: dict[str, Any] = {"domain": "ai.onnx.ml", "classes_strings": categories, "default_int64": other}
        index = self.node("LabelEncoder", feature["name"], **encoder)
        codes = [*(float(number) for number in range(len(categories))), float("nan")]
        return self.node("Gather", self.constant(codes if allows_nan(feature) else codes[:-1]), index)

    def _encode_date(self, feature: FeatureProfile) -> str:
        from onnx import TensorProto

        empty = self.node("Equal", feature["name"], self.constant(""))
        text = self.node("Where", empty, self.constant(EPOCH), feature["name"])
        is_day = self.node("RegexFullMatch", text, pattern=DAY)
        parts = self.node("StringSplit", text, delimiter="-", maxsplit=2, outputs=2)
        numbers = self.node("Cast", parts, to=TensorProto.INT64)
        year, month, day = (self.node("Gather", numbers, self.constant(part), axis=-1) for part in range(3))
        days = self.node("Cast", self._days(year, month, day), to=TensorProto.FLOAT)
        position = self.node("Where", is_day, self.constant(0), self.constant(BEYOND))
        checked = self.node("Add", days, self.node("Gather", self.constant([0.0]), position))
        if allows_nan(feature):
            return self.node("Where", empty, self.constant(float("nan")), checked)
        allowed = self.node("Where", empty, self.constant(BEYOND), self.constant(0))
        return self.node("Add", checked, self.node("Gather", self.constant([0.0]), allowed))

    def _days(self, year: str, month: str, day: str) -> str:
        """Add the days since 1970-01-01 of the Gregorian calendar, counted in years that begin in March."""

        def apply(operator: str, value: str, number: int) -> str:
            return self.node(operator, value, self.constant(number))

        early = self.node("Less", month, self.constant(3))
        year = self.node("Sub", year, self.node("Where", early, self.constant(1), self.constant(0)))
        months = self.node("Add", month, self.node("Where", early, self.constant(9), self.constant(-3)))
        day_of_year = apply("Div", apply("Add", apply("Mul", months, 153), 2), 5)
        leap_days = self.node("Sub", apply("Div", year, 4), apply("Div", year, 100))
        leap_days = self.node("Add", leap_days, apply("Div", year, 400))
        days = self.node("Add", self.node("Add", apply("Mul", year, 365), leap_days), day_of_year)
        return apply("Sub", self.node("Add", days, day), 719_469)

    def add_classes(self, classes: list[str]) -> None:
        """Add the outputs of a classification."""
        from onnx import TensorProto

        label, probabilities = f"{PREFIX}label", f"{PREFIX}probabilities"
        self._output("label", "Identity", [label], ("long", TensorProto.INT64))
        encoder = {"domain": "ai.onnx.ml", "classes_strings": classes}
        self._output("class", "LabelEncoder", [label], ("string", TensorProto.STRING), **encoder)
        self._columns(probabilities, [f"probability_{name}" for name in classes])

    def add_values(self, targets: list[str]) -> None:
        """Add the outputs of a regression."""
        self._columns(f"{PREFIX}value", [f"predicted_{name}" for name in targets])

    def add_anomalies(self) -> None:
        """Add the outputs of an anomaly detection."""
        from onnx import TensorProto

        self._output("anomaly", "Identity", [f"{PREFIX}anomaly"], ("boolean", TensorProto.BOOL))
        self._output("score", "Identity", [f"{PREFIX}score"], ("float", TensorProto.FLOAT))

    def _columns(self, matrix: str, names: list[str]) -> None:
        from onnx import TensorProto

        for index, name in enumerate(names):
            self._output(name, "Gather", [matrix, self.constant(index)], ("float", TensorProto.FLOAT), axis=1)

    def _output(self, name: str, operator: str, inputs: list[str], kind: tuple[str, int], **attributes: Any) -> None:
        from onnx import helper

        column = f"predicted_{name}" if name in self._names else name
        self.nodes.append(helper.make_node(operator, inputs, [column], **attributes))
        self.values.append(helper.make_tensor_value_info(column, kind[1], [None]))
        self.outputs[column] = kind[0]
