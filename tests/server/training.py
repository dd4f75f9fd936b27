"""Real models for the tests: a forest that scikit-learn trains and skl2onnx exports, with its signature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

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
