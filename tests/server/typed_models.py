"""Models of format 2 with a column of each type: the class, or the price and the rent, of a home."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

DISTRICTS = ["east", "north", "west"]
HEATINGS = ["district heat", "gas", "oil"]
CLASSES = ["cheap", "fair", "dear"]
COLUMNS: list[dict[str, Any]] = [
    {"name": "area", "type": "number", "missing": True},
    {"name": "floors", "type": "integer"},
    {"name": "garden", "type": "boolean"},
    {"name": "district", "type": "category", "categories": DISTRICTS},
    {"name": "heating", "type": "category", "categories": HEATINGS, "missing": True, "unknown": True},
    {"name": "built", "type": "date", "missing": True, "missing_texts": ["?"]},
]
HOME = {
    "area": 80.5,
    "floors": 3,
    "garden": True,
    "district": "north",
    "heating": "gas",
    "built": "1990-06-15",
}
ENCODED = [80.5, 3.0, 1.0, 1.0, 1.0, 7470.0]
"""`HOME` as the model reads it."""
RANGES = {"edges": [0.5, 1.5], "shares": [0.5, 0.25, 0.125], "missing": 0.125}


def homes(rows: int = 300) -> NDArray[np.float32]:
    """Return encoded homes [rows, columns], with missing values."""
    random = np.random.default_rng(0)
    data = np.stack(
        [
            random.uniform(20, 200, rows),
            random.integers(1, 9, rows),
            random.integers(0, 2, rows),
            random.integers(0, 3, rows),
            random.integers(0, 3, rows),
            random.integers(0, 19000, rows),
        ],
        axis=1,
    ).astype(np.float32)
    for column in (0, 4, 5):
        data[random.random(rows) < 0.2, column] = np.nan
    return data


def train_class(folder: Path) -> Path:
    """Train a classification of homes."""
    data = homes()
    classes = np.digitize(np.nan_to_num(data[:, 0], nan=100), [70, 140])
    model = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(data, classes)
    return _save(folder, model, {"target": "price_class", "classes": CLASSES}, data)


def train_price(folder: Path, targets: int = 1, *, impute: bool = True) -> Path:
    """Train a regression of homes with one or two targets; without `impute`, it cannot predict missing values."""
    data = homes()
    price = np.nan_to_num(data[:, 0], nan=100) * 2 + data[:, 1] + data[:, 3] * 10
    values = np.stack([price, price / 20], axis=1)[:, :targets]
    steps = [SimpleImputer(), LinearRegression()] if impute else [LinearRegression()]
    model = make_pipeline(*steps).fit(data if impute else np.nan_to_num(data), values)
    about: dict[str, Any] = {"task": "regression", "target": "price", "unit": "1000 EUR", "metrics": {"rmse": 3.25}}
    if targets > 1:
        about["targets"] = ["price", "rent"]
    return _save(folder, model, about, data)


def _save(folder: Path, model: Any, about: dict[str, Any], data: NDArray[np.float32]) -> Path:
    inputs = [("features", FloatTensorType([None, len(COLUMNS)]))]
    options = {id(model): {"zipmap": False}} if "classes" in about else None
    exported = to_onnx(model, initial_types=inputs, options=options)
    if about.get("task") == "regression":
        _rename_output(exported, "value")
    content = exported.SerializeToString()
    features = [
        column
        | {"minimum": float(np.nanmin(values)), "maximum": float(np.nanmax(values)), "mean": float(np.nanmean(values))}
        for column, values in zip(COLUMNS, data.T, strict=True)
    ]
    features[4]["ranges"] = RANGES
    signature = {"format": 2, "model": folder.name, "features": features} | about
    signature["sha256"] = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(content)
    (folder / "signature.json").write_text(json.dumps(signature))
    return folder


def _rename_output(model: onnx.ModelProto, name: str) -> None:
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [name if each == output.name else each for each in node.output]
    output.name = name
