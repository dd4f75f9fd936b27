"""A model directory: `model.onnx` and `signature.json`, what training hands over and what is served. Data, not code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.errors import StepError
from workloads.ml.table import Labels, Rows

FORMAT = 1
ONNX_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"


class Feature(TypedDict):
    """One input of the model, with its range in the training data."""

    name: str
    minimum: float
    maximum: float
    mean: float


class Data(TypedDict):
    """What a model was trained and tested on; `sha256` is of the file's bytes, `rows` counts both parts."""

    source: str
    sha256: str
    rows: int


class Signature(TypedDict):
    """What a caller must know of a model. `features` stand in the order that the model takes, `classes` by index."""

    format: int
    model: str
    target: str
    features: list[Feature]
    classes: list[str]
    sha256: str
    metrics: dict[str, float]
    data: Data
    libraries: dict[str, str]
    created: str


@dataclass(frozen=True)
class Model:
    """A model directory that was read, its hash checked."""

    onnx: bytes
    signature: Signature

    def predict(self, rows: Rows) -> tuple[Labels, NDArray[np.float32]]:
        """Index of the class [rows] and probabilities [rows, classes]."""
        from onnxruntime import InferenceSession

        labels, probabilities = InferenceSession(self.onnx).run(["label", "probabilities"], {"features": rows})
        return labels, probabilities


def features(names: list[str], rows: Rows) -> list[Feature]:
    """The features of a signature, from the training rows."""
    columns = zip(names, rows.min(axis=0), rows.max(axis=0), rows.mean(axis=0, dtype=np.float64), strict=True)
    return [Feature(name=name, minimum=_short(low), maximum=_short(high), mean=_short(mean)) for name, low, high, mean in columns]


def libraries() -> dict[str, str]:
    """Versions of what made the model."""
    import platform
    from importlib.metadata import version

    return {name: version(name) for name in ("scikit-learn", "skl2onnx", "onnx")} | {"python": platform.python_version()}


def save(folder: Path, onnx: bytes, signature: Signature) -> None:
    """Write a model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX_FILE).write_bytes(onnx)
    (folder / SIGNATURE_FILE).write_text(json.dumps(signature, indent=2) + "\n")


def load(folder: Path) -> Model:
    """Read a model directory.

    Raises:
        StepError: a file is missing, or the model is not the one that its signature describes.
    """
    try:
        onnx = (folder / ONNX_FILE).read_bytes()
        signature: Signature = json.loads((folder / SIGNATURE_FILE).read_text())
    except FileNotFoundError as error:
        raise StepError(f"a model directory holds {ONNX_FILE} and {SIGNATURE_FILE}; {error.filename} is not there") from None
    if (found := digest(onnx)) != signature["sha256"]:
        raise StepError(f"{ONNX_FILE} has the SHA-256 {found}, its signature says {signature['sha256']}: it was changed")
    return Model(onnx, signature)


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _short(value: Any) -> float:
    """A float32 as a person wrote it: 5.1, not 5.099999904632568."""
    return float(f"{value:.7g}")
