"""Small models whose answers a test can compute by hand, and test parts for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from onnx import TensorProto, helper
from pyarrow import parquet

from workloads.ml.data.table import DESCRIPTION_KEY
from workloads.ml.model import model_directory
from workloads.ml.model.model_directory import save_model_directory, sha256_hex


def linear_onnx(weights: Sequence[float], offset: float = 0.0, classifier: bool = False) -> bytes:
    """Return a model of the sum of weighted features: the value of a regression, or the score of class 1 of two."""
    features = len(weights)
    constants = [
        helper.make_tensor("weights", TensorProto.FLOAT, [features, 1], list(weights)),
        helper.make_tensor("offset", TensorProto.FLOAT, [1], [offset]),
        helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
    ]
    nodes = [
        helper.make_node("MatMul", ["features", "weights"], ["sum"]),
        helper.make_node("Add", ["sum", "offset"], ["score" if classifier else "value"]),
    ]
    outputs = [("value", TensorProto.FLOAT, [None, 1])]
    if classifier:
        nodes += [
            helper.make_node("Sigmoid", ["score"], ["second"]),
            helper.make_node("Sub", ["one", "second"], ["first"]),
            helper.make_node("Concat", ["first", "second"], ["probabilities"], axis=1),
            helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
        ]
        outputs = [("label", TensorProto.INT64, [None]), ("probabilities", TensorProto.FLOAT, [None, 2])]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info(*output) for output in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))


def constant_model(probabilities: Sequence[float]) -> bytes:
    """Return an ONNX model that predicts class 0 with the same probabilities for every row."""
    values = [helper.make_tensor("row", TensorProto.FLOAT, [1, len(probabilities)], list(probabilities))]
    nodes = [
        helper.make_node("ReduceMax", ["features"], ["largest"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["largest", "largest"], ["zeros"]),
        helper.make_node("Add", ["zeros", "row"], ["probabilities"]),
        helper.make_node("ArgMin", ["zeros"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, 4])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(probabilities)]),
        ],
        values,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def save_linear(
    folder: Path,
    weights: Sequence[float],
    offset: float = 0.0,
    classes: Sequence[str] = (),
    names: Sequence[str] = ("a", "b"),
    features: Sequence[dict[str, Any]] = (),
    target: str = "y",
) -> Path:
    """Write the model directory of a linear model: a regression, or a classification if there are `classes`."""
    onnx = linear_onnx(weights, offset, bool(classes))
    profile = {"minimum": -1.0, "maximum": 1.0, "mean": 0.0, "type": "number"}
    signature: Any = {
        "format": model_directory.FORMAT,
        "model": "linear",
        "task": "classification" if classes else "regression",
        "target": target,
        "features": list(features) or [{"name": name, **profile} for name in names],
        "classes": list(classes),
        "sha256": sha256_hex(onnx),
        "metrics": {},
        "data": {"source": "", "sha256": "", "rows": 0},
        "libraries": {},
        "created": "",
    }
    save_model_directory(folder, onnx, signature)
    return folder


def save_part(file: Path, rows: Any, truth: Any, names: Sequence[str] = ("a", "b")) -> Path:
    """Write a test part as the preprocessing step does."""
    columns = [pa.array(np.asarray(column, dtype=np.float32)) for column in np.asarray(rows).T] + [pa.array(truth)]
    description = json.dumps({"features": list(names), "target": "y"})
    parquet.write_table(pa.table(columns, names=[*names, "y"], metadata={DESCRIPTION_KEY: description}), file)
    return file
