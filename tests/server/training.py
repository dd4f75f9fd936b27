"""Real models for the tests: a forest that scikit-learn trains and skl2onnx exports, with its signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

FLOAT = TensorProto.FLOAT
IRIS = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@dataclass(frozen=True)
class Trained:
    """A forest, its training data, and the folder with its model.onnx and signature.json."""

    folder: Path
    forest: RandomForestClassifier
    data: NDArray[np.float32]
    features: Sequence[str]
    sha256: str

    def rows(self) -> list[dict[str, float]]:
        return [dict(zip(self.features, map(float, row), strict=True)) for row in self.data]


def train(
    folder: Path,
    data: NDArray[np.float32],
    labels: NDArray[np.int64],
    features: Sequence[str],
    classes: Sequence[str],
    target: str,
    trees: int = 100,
) -> Trained:
    """Train on `data` [rows, features] with class indices `labels` [rows], and write the model into `folder`."""
    forest = RandomForestClassifier(trees, random_state=123).fit(data, labels)
    inputs = [("features", FloatTensorType([None, len(features)]))]
    exported = to_onnx(forest, initial_types=inputs, options={id(forest): {"zipmap": False}}).SerializeToString()
    sha256 = hashlib.sha256(exported).hexdigest()
    signature: dict[str, Any] = {
        "format": 1,
        "model": folder.name,
        "target": target,
        "features": [
            {
                "name": name,
                "minimum": float(c.min()),
                "maximum": float(c.max()),
                "mean": float(c.mean(dtype=np.float64)),
            }
            for name, c in zip(features, data.T, strict=True)
        ],
        "classes": list(classes),
        "sha256": sha256,
        "metrics": {"accuracy": float(forest.score(data, labels))},
        "data": {"source": "test", "sha256": "", "rows": len(data)},
        "libraries": {},
        "created": "2026-01-01T00:00:00+00:00",
    }
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(exported)
    (folder / "signature.json").write_text(json.dumps(signature))
    return Trained(folder, forest, data, features, sha256)


def train_iris(folder: Path, trees: int = 100) -> Trained:
    """Train the Iris forest."""
    iris = load_iris()
    classes = [str(name) for name in iris.target_names]
    return train(folder, iris.data.astype(np.float32), iris.target, IRIS, classes, "species", trees)


def with_nodes(folder: Path, nodes: Sequence[onnx.NodeProto], output: str) -> None:
    """Change the model of a folder: compute `nodes` too, and add their scalar `output` to the probabilities."""
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        node.output[:] = ["raw" if name == "probabilities" else name for name in node.output]
    model.graph.node.extend([*nodes, helper.make_node("Add", ["raw", output], ["probabilities"])])
    content = model.SerializeToString()
    (folder / "model.onnx").write_bytes(content)
    signature = json.loads((folder / "signature.json").read_text())
    signature["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "signature.json").write_text(json.dumps(signature))


def make_endless(folder: Path) -> None:
    """Change the model of a folder so that its prediction never ends."""
    true, count, zero = (
        helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, [], [value]))
        for name, kind, value in (("go", TensorProto.BOOL, 1), ("count", TensorProto.INT64, 2**62), ("zero", FLOAT, 0))
    )
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_in"], ["go_out"]),
            helper.make_node("Mul", ["sum_in", "sum_in"], ["sum_out"]),
        ],
        "body",
        [_scalar("number", TensorProto.INT64), _scalar("go_in", TensorProto.BOOL), _scalar("sum_in", FLOAT)],
        [_scalar("go_out", TensorProto.BOOL), _scalar("sum_out", FLOAT)],
    )
    loop = helper.make_node("Loop", ["count", "go", "zero"], ["sum"], body=body)
    with_nodes(folder, [true, count, zero, loop], "sum")


def make_hungry(folder: Path, gigabytes: int = 8) -> None:
    """Change the model of a folder so that its prediction allocates so much memory."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [gigabytes * 2**28])
    nodes = [
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
    ]
    with_nodes(folder, nodes, "sum")


def _scalar(name: str, kind: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, [])
