"""The model directory as an MLflow Model, so that `mlflow.pyfunc` predicts DataFrames with named columns.

MLflow's ONNX flavor passes each column of a DataFrame to the input of that name, and expects one value for each row in
every output. `model.onnx` has one input for all features, because the model server needs that. MLflow therefore uses a
second graph, `table.onnx`: the same model behind one input for each column.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from workloads.ml.model import model_directory
from workloads.ml.model.model_directory import ModelDirectory, save_model_directory
from workloads.ml.model.table_graph import build_table_graph, column_types

TABLE_ONNX_FILE = "table.onnx"


def save_mlflow_model(model: ModelDirectory, folder: Path) -> None:
    """Write the model directory together with the files of an MLflow Model.

    The columns of the predictions are `label` (class index), `class` (its name), and `probability_<class>` for each
    class; of a regression, `predicted_<target>` for each target; of an anomaly detection, `anomaly` and `score`. A
    column whose name is also the name of a feature is preceded by `predicted_`. Columns of texts must have the dtype
    `object`: MLflow's ONNX flavor takes no other.
    """
    import mlflow.onnx
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    features = model.signature["features"]
    graph, outputs = build_table_graph(model)
    mlflow.onnx.save_model(
        graph,
        str(folder),
        signature=ModelSignature(
            inputs=Schema([ColSpec(column_types(feature)[0], feature["name"]) for feature in features]),
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
