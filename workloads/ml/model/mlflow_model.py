"""The model directory as an MLflow Model, so that `mlflow.pyfunc` predicts DataFrames with named columns.

MLflow's ONNX flavor passes each column of a DataFrame to the input of that name, and expects one value for each row in
every output. `model.onnx` has one input for all features, because the model server needs that. MLflow therefore uses a
second graph, `table.onnx`: the same model behind one input for each column.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from workloads.ml.data.columns import ColumnType
from workloads.ml.model import model_directory
from workloads.ml.model.model_directory import FeatureProfile, ModelDirectory, save_model_directory

TABLE_ONNX_FILE = "table.onnx"
PREFIX = "model:"
"""Prefix of names within the graph, so that they differ from names of columns."""
Outputs = dict[str, str]
"""Type of MLflow by name of the output."""


def save_mlflow_model(model: ModelDirectory, folder: Path) -> None:
    """Write the model directory together with the files of an MLflow Model.

    The columns of the predictions are `label` (class index), `class` (its name), and `probability_<class>` for each
    class. A column whose name is also the name of a feature is preceded by `predicted_`.
    """
    import mlflow.onnx
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    features = model.signature["features"]
    graph, outputs = _table_graph(model)
    mlflow.onnx.save_model(
        graph,
        str(folder),
        signature=ModelSignature(
            inputs=Schema([ColSpec(_column_types(feature)[0], feature["name"]) for feature in features]),
            outputs=Schema([ColSpec(kind, name) for name, kind in outputs.items()]),
        ),
        # Without a list, MLflow loads the model in another process to find its requirements.
        pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "onnx", "onnxruntime")],
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
    )
    (folder / model_directory.ONNX_FILE).rename(folder / TABLE_ONNX_FILE)
    described = Model.load(folder)
    for flavor in described.flavors.values():
        flavor["data"] = TABLE_ONNX_FILE
    described.save(folder / "MLmodel")
    save_model_directory(folder, model.onnx, model.signature)


def _column_types(feature: FeatureProfile) -> tuple[str, int]:
    """Return the types of a column in MLflow and in ONNX."""
    from onnx import TensorProto

    types = {
        ColumnType.BOOLEAN: ("boolean", TensorProto.BOOL),
        ColumnType.INTEGER: ("long", TensorProto.INT64),
    }
    return types.get(ColumnType(feature.get("type", ColumnType.NUMBER)), ("double", TensorProto.FLOAT))


def _table_graph(model: ModelDirectory) -> tuple[Any, Outputs]:
    """Return the model with one input for each feature and one output for each column of the predictions."""
    from onnx import TensorProto, compose, helper, load_model_from_string

    features, classes = model.signature["features"], model.signature["classes"]
    original = compose.add_prefix(load_model_from_string(model.onnx), PREFIX)
    names = {feature["name"] for feature in features}
    shape = [None, 1] if len(features) == 1 else [None]  # MLflow passes a single column as a matrix
    inputs = [helper.make_tensor_value_info(feature["name"], _column_types(feature)[1], shape) for feature in features]
    initializers = [helper.make_tensor(f"{PREFIX}shape", TensorProto.INT64, [2], [len(features), -1])]
    nodes, columns = [], []
    for number, feature in enumerate(features):
        columns.append(feature["name"])
        if _column_types(feature)[1] != TensorProto.FLOAT:
            columns[-1] = f"{PREFIX}column:{number}"
            nodes.append(helper.make_node("Cast", [feature["name"]], columns[-1:], to=TensorProto.FLOAT))
    nodes += [
        helper.make_node("Concat", columns, [f"{PREFIX}values"], axis=0),
        helper.make_node("Reshape", [f"{PREFIX}values", f"{PREFIX}shape"], [f"{PREFIX}columns"]),
        helper.make_node("Transpose", [f"{PREFIX}columns"], [f"{PREFIX}features"], perm=[1, 0]),
        *original.graph.node,
    ]

    outputs: Outputs = {}
    values = []

    def add_output(name: str, node: str, arguments: list[str], kind: tuple[str, int], **attributes: Any) -> None:
        column = f"predicted_{name}" if name in names else name
        nodes.append(helper.make_node(node, arguments, [column], **attributes))
        values.append(helper.make_tensor_value_info(column, kind[1], [None]))
        outputs[column] = kind[0]

    label, probabilities = f"{PREFIX}label", f"{PREFIX}probabilities"
    add_output("label", "Identity", [label], ("long", TensorProto.INT64))
    encoder = {"domain": "ai.onnx.ml", "classes_strings": classes}
    add_output("class", "LabelEncoder", [label], ("string", TensorProto.STRING), **encoder)
    for index, name in enumerate(classes):
        class_index = f"{PREFIX}class:{index}"
        initializers.append(helper.make_tensor(class_index, TensorProto.INT64, [], [index]))
        kind = ("float", TensorProto.FLOAT)
        add_output(f"probability_{name}", "Gather", [probabilities, class_index], kind, axis=1)

    graph = helper.make_graph(nodes, "table", inputs, values, [*original.graph.initializer, *initializers])
    table = helper.make_model(graph, opset_imports=original.opset_import, ir_version=original.ir_version)
    return table, outputs
