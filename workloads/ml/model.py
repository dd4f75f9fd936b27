"""A model directory: `model.onnx` and `signature.json`, what training hands over and what is served. Data, not code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.drift import Ranges, ranges
from workloads.ml.errors import StepError
from workloads.ml.table import Labels, Rows, short

FORMAT = 1
ONNX_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"


class Feature(TypedDict):
    """One input of the model, with what its training data were like; the first versions had no `ranges`."""

    name: str
    minimum: float
    maximum: float
    mean: float
    ranges: NotRequired[Ranges]


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


def describe(name: str, onnx: bytes, rows: Rows, about: Mapping[str, Any]) -> Signature:
    """The signature of a model that was trained on `rows`; its metrics are for whoever tests it.

    Args:
        about: metadata of the training part: `features` (names), `target`, `classes`, and the fingerprint `source`,
            `sha256`, `rows` of the data.
    """
    return Signature(
        format=FORMAT,
        model=name,
        target=about["target"],
        features=[
            Feature(
                name=feature,
                minimum=short(column.min()),
                maximum=short(column.max()),
                mean=short(column.mean(dtype=np.float64)),
                ranges=ranges(column),
            )
            for feature, column in zip(about["features"], rows.T, strict=True)
        ],
        classes=about["classes"],
        sha256=digest(onnx),
        metrics={},
        data=Data(source=about["source"], sha256=about["sha256"], rows=int(about["rows"])),
        libraries=_libraries(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _libraries() -> dict[str, str]:
    """Versions of what made the model."""
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("scikit-learn", "skl2onnx", "onnx")}
    return packages | {"python": platform.python_version()}


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
        raise StepError(f"{error.filename} is not there, which a model directory holds") from None
    if (found := digest(onnx)) != signature["sha256"]:
        raise StepError(f"{ONNX_FILE} was changed: its SHA-256 is {found}, its signature says {signature['sha256']}")
    return Model(onnx, signature)


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
