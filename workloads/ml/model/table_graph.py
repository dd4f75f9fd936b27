"""The ONNX graph with one input for each column, which encodes cells as `workloads.ml.data.encoding` does.

A category is a text, a date the text of a day such as 2024-02-29. An empty text is a missing value, and so are None,
NaN and the `missing_texts` of the column. A text is not trimmed: one with surrounding spaces is refused.
ONNX has no error for a wrong value. The graph gathers from beyond the end of a tensor instead, which fails. The name of
that node is in the error of ONNX Runtime: it says the column and what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workloads.ml.data.columns import ColumnType, parse_number
from workloads.ml.data.encoding import allows_nan
from workloads.ml.data.target import Task
from workloads.ml.model.model_directory import FeatureProfile, ModelDirectory, signature_task, targets_of

PREFIX = "model:"
"""Prefix of names within the graph, so that they differ from names of columns."""
Outputs = dict[str, str]
"""Type of MLflow by name of the output."""
BEYOND = 1 << 40
"""Index that is beyond the end of every tensor."""
REFUSED = -1.0
"""Code of a text that a category refuses."""
NULLS = ("", "None", "nan", "<NA>", "NaT")
"""Texts of missing values: ONNX Runtime reads None and NaN in a column of texts as their names."""
PADDED = r"(?s)[\s\pZ].*|.*[\s\pZ]"
FOURTH = "(0[48]|[2468][048]|[13579][26])"
"""Two digits that are a multiple of four and not 00."""
DAY = (
    r"\d{4}-((0[13578]|1[02])-(0[1-9]|[12]\d|3[01])|(0[469]|11)-(0[1-9]|[12]\d|30)|02-(0[1-9]|1\d|2[0-8]))"
    rf"|(\d\d{FOURTH}|{FOURTH}00)-02-29"
)
EPOCH = "1970-01-01"
NUMBER_OPSET, TEXT_OPSET = 11, 20
"""First versions of ONNX with all operators for columns of numbers, and of texts."""
ML_DOMAIN, ML_OPSET = "ai.onnx.ml", 3


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
    original = add_prefix(_with_operators(load_model_from_string(model.onnx), features), PREFIX)
    versions = {each.domain: each.version for each in original.opset_import}
    shape = [None, 1] if len(features) == 1 else [None]  # MLflow passes a single column as a matrix
    inputs = [helper.make_tensor_value_info(feature["name"], column_types(feature)[1], shape) for feature in features]
    graph = _GraphBuilder({feature["name"] for feature in features}, versions[ML_DOMAIN])
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


def _with_operators(model: Any, features: Sequence[FeatureProfile]) -> Any:
    """Return the model in a version of ONNX that has the operators for its columns; converters may write older ones."""
    from onnx import helper, version_converter

    domains = {each.domain: each.version for each in model.opset_import}
    has_texts = any(column_types(feature)[0] == "string" for feature in features)
    if domains[""] < (needed := TEXT_OPSET if has_texts else NUMBER_OPSET):
        model = version_converter.convert_version(model, needed)
    if ML_DOMAIN not in domains:
        model.opset_import.append(helper.make_opsetid(ML_DOMAIN, ML_OPSET))
    return model


class _GraphBuilder:
    """Nodes of the graph around the model.

    Args:
        names: Names of the graph's inputs.
        ml_opset: Version of the operators of the domain `ai.onnx.ml`.
    """

    def __init__(self, names: set[str], ml_opset: int) -> None:
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.values: list[Any] = []
        self.outputs: Outputs = {}
        self._names = names
        self._ml_opset = ml_opset

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
        kind = ColumnType(feature.get("type", ColumnType.NUMBER))
        if kind is ColumnType.CATEGORY:
            return self._encode_category(feature)
        if kind is ColumnType.DATE:
            return self._encode_date(feature)
        return self._encode_number(feature, kind)

    def _encode_number(self, feature: FeatureProfile, kind: ColumnType) -> str:
        from onnx import TensorProto

        values, given = feature["name"], column_types(feature)[1]
        if given != TensorProto.FLOAT:
            values = self.node("Cast", values, to=TensorProto.FLOAT)
        if given == TensorProto.BOOL:
            return values
        missing = self.node("IsNaN", values)
        numbers = [parse_number(text, ".") for text in feature.get("missing_texts", ())]
        for number in filter(np.isfinite, numbers):
            missing = self.node("Or", missing, self.node("Equal", values, self.constant(number)))
        invalid = self.node("IsInf", values)
        if kind is ColumnType.BOOLEAN:
            zero_or_one = [self.node("Equal", values, self.constant(number)) for number in (0.0, 1.0)]
            invalid = self.node("Not", self.node("Or", self.node("Or", *zero_or_one), missing))
        return self._checked(feature, values, missing, invalid, "0 or 1" if kind is ColumnType.BOOLEAN else "a number")

    def _encode_category(self, feature: FeatureProfile) -> str:
        categories = feature["categories"]
        nulls = self._nulls(feature, categories)
        index = self._index([*categories, *nulls], feature["name"])
        missing = float("nan") if feature.get("missing", False) else REFUSED
        other = float("nan") if feature.get("unknown", False) else REFUSED
        codes = [*(float(number) for number in range(len(categories))), *[missing] * len(nulls), other]
        values = self.node("Gather", self.constant(codes), index)
        invalid = self.node("Less", values, self.constant(0.0))
        if feature.get("unknown", False):
            unlisted = self.node("Equal", index, self.constant(len(codes) - 1))
            padded = self.node("RegexFullMatch", feature["name"], pattern=PADDED)
            invalid = self.node("Or", invalid, self.node("And", unlisted, padded))
        return self._refuse(feature, values, invalid, "one of its categories without spaces around it")

    def _encode_date(self, feature: FeatureProfile) -> str:
        from onnx import TensorProto

        nulls = self._nulls(feature)
        missing = self.node("Less", self._index(nulls, feature["name"]), self.constant(len(nulls)))
        is_day = self.node("RegexFullMatch", feature["name"], pattern=DAY)
        text = self.node("Where", is_day, feature["name"], self.constant(EPOCH))
        parts = self.node("StringSplit", text, delimiter="-", maxsplit=2, outputs=2)
        numbers = self.node("Cast", parts, to=TensorProto.INT64)
        year, month, day = (self.node("Gather", numbers, self.constant(part), axis=-1) for part in range(3))
        days = self.node("Cast", self._days(year, month, day), to=TensorProto.FLOAT)
        invalid = self.node("Not", self.node("Or", is_day, missing))
        return self._checked(feature, days, missing, invalid, "a day such as 2024-02-29")

    def _checked(self, feature: FeatureProfile, values: str, missing: str, invalid: str, allowed: str) -> str:
        """Add NaN for missing values, or their refusal, and the refusal of invalid ones."""
        if feature.get("missing", False):
            values = self.node("Where", missing, self.constant(float("nan")), values)
        else:
            invalid = self.node("Or", invalid, missing)
        return self._refuse(feature, values, invalid, allowed)

    def _refuse(self, feature: FeatureProfile, values: str, invalid: str, allowed: str) -> str:
        position = self.node("Where", invalid, self.constant(BEYOND), self.constant(0))
        or_missing = ", or missing" if feature.get("missing", False) else ""
        error = f"column {feature['name']}: each value must be {allowed}{or_missing}"
        return self.node("Add", values, self.node("Gather", self.constant([0.0]), position, name=error))

    def _nulls(self, feature: FeatureProfile, categories: Sequence[str] = ()) -> list[str]:
        """Return the texts that are missing values; a category is none."""
        texts = dict.fromkeys([*NULLS, *feature.get("missing_texts", ())])
        return [text for text in texts if text not in categories]

    def _index(self, texts: Sequence[str], column: str) -> str:
        """Add the index in `texts`, which is their number for other texts."""
        encoder: dict[str, Any] = {"classes_strings": texts}
        if self._ml_opset > 1:
            encoder = {"keys_strings": texts, "values_int64s": range(len(texts))}
        return self.node("LabelEncoder", column, domain=ML_DOMAIN, default_int64=len(texts), **encoder)

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
        encoder: dict[str, Any] = {"domain": ML_DOMAIN, "classes_strings": classes}
        if self._ml_opset > 1:
            encoder = {"domain": ML_DOMAIN, "keys_int64s": range(len(classes)), "values_strings": classes}
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
