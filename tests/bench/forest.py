"""The model of all compared servers, in each format that they need."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

from workloads.ml.model.model_directory import build_signature, save_model_directory, sha256_hex
from workloads.ml.model.onnx_export import forest_to_onnx

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
TREES = 100

Flower = list[float]
"""The features in their order, cm."""
_iris = load_iris()
FLOWERS: list[Flower] = _iris.data.tolist()


@dataclass(frozen=True)
class Forest:
    """A trained random forest and its files: a pickle, and a model directory with the same in ONNX."""

    trained: RandomForestClassifier
    pickle: Path
    directory: Path

    def classes(self) -> list[int]:
        """Return the class index of each flower."""
        classes: list[int] = self.trained.predict(FLOWERS).tolist()
        return classes


def train(folder: Path) -> Forest:
    """Train on all flowers: the benchmark does not measure accuracy."""
    trained = RandomForestClassifier(n_estimators=TREES, oob_score=True, random_state=123).fit(FLOWERS, _iris.target)
    forest = Forest(trained, folder / "model.pkl", folder / "model")
    forest.pickle.write_bytes(pickle.dumps(trained))
    save_forest("iris", trained, _iris, FEATURES, forest.directory)
    return forest


def save_forest(name: str, trained: RandomForestClassifier, data: Any, features: list[str], directory: Path) -> None:
    """Write a forest as a model directory; `data` are the data of scikit-learn that it was trained on."""
    onnx, rows = forest_to_onnx(trained), data.data.astype(np.float32)
    about = {
        "features": features,
        "target": "species",
        "classes": data.target_names.tolist(),
        "source": "scikit-learn",
        "sha256": sha256_hex(rows.tobytes()),
        "rows": len(rows),
    }
    save_model_directory(directory, onnx, build_signature(name, onnx, rows, about))
