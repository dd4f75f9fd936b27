"""A model directory: `model.onnx` and `signature.json`. Training writes it, the registry keeps it, the server reads it.

A model is data, not code: nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from workloads.ml.data.columns import Column, ColumnType
from workloads.ml.data.encoding import ColumnSchema, Rows, allows_nan
from workloads.ml.data.table import short
from workloads.ml.data.target import Labels, Task
from workloads.ml.drift import TrainingRanges, compute_ranges
from workloads.ml.errors import StepError

FORMAT = 2
ONNX_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
IMPORTANCE_FILE = "importance.json"
"""Optional; it is not registered."""
PROBABILITY_TOLERANCE = 1e-3
WHOLE_TYPES = (ColumnType.BOOLEAN, ColumnType.CATEGORY)
"""Types whose encoded values are whole numbers."""


class FeatureProfile(ColumnSchema):
    """An input of the model and the distribution of its encoded values in training.

    `minimum`, `maximum` and `mean` are those of the values that are not missing. Signatures of early versions have
    neither `ranges` nor `type`.
    """

    minimum: float
    maximum: float
    mean: float
    ranges: NotRequired[TrainingRanges]


class DataFingerprint(TypedDict):
    """The data of training and test; `sha256` is that of the file, `rows` counts both parts."""

    source: str
    sha256: str
    rows: int


class Signature(TypedDict):
    """The description of a model for its callers.

    `features` are in the order of the model's input, `classes` in the order of its class indices. A regression has no
    classes; it may have several targets and a unit. Signatures of format 1 are classifications.
    """

    format: int
    model: str
    task: NotRequired[str]
    target: str
    targets: NotRequired[list[str]]
    unit: NotRequired[str]
    features: list[FeatureProfile]
    classes: list[str]
    sha256: str
    metrics: dict[str, float]
    data: DataFingerprint
    libraries: dict[str, str]
    created: str


@dataclass(frozen=True)
class ModelDirectory:
    """The content of a model directory whose hash is verified."""

    onnx: bytes
    signature: Signature

    def predict(self, rows: Rows) -> tuple[Labels, NDArray[np.float32]]:
        """Return class indices [rows] and probabilities [rows, classes]."""
        from onnxruntime import InferenceSession

        labels, probabilities = InferenceSession(self.onnx).run(["label", "probabilities"], {"features": rows})
        return labels, probabilities

    def predict_anomalies(self, rows: Rows) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Return which rows are anomalies [rows], and their scores [rows]."""
        from onnxruntime import InferenceSession

        anomalies, scores = InferenceSession(self.onnx).run(["anomaly", "score"], {"features": rows})
        return anomalies, scores

    def predict_values(self, rows: Rows) -> NDArray[np.float32]:
        """Return the numbers that a regression predicts [rows, targets]."""
        from onnxruntime import InferenceSession

        (values,) = InferenceSession(self.onnx).run(["value"], {"features": rows})
        return np.asarray(values)


RESERVED_KEYS = {
    Task.CLASSIFICATION: {"class_index", "probabilities", "model_name", "model_version"},
    Task.REGRESSION: {"unit", "model_name", "model_version"},
    Task.ANOMALY: set[str](),
}
"""Keys of a response beside the targets. The model server refuses a model whose target has such a name."""


def signature_task(signature: Mapping[str, Any]) -> Task:
    """Return the task of a model."""
    return Task(signature.get("task", Task.CLASSIFICATION))


def targets_of(signature: Mapping[str, Any]) -> list[str]:
    """Return the names of a model's targets."""
    return list(signature.get("targets") or [signature["target"]])


def build_signature(name: str, onnx: bytes, rows: Rows, about: Mapping[str, Any]) -> Signature:
    """Return the signature of a model that was trained on `rows`; the test step adds its metrics later.

    Args:
        name: Name of the model.
        onnx: The exported model.
        rows: Training rows [rows, features].
        about: A `TableDescription`; without `columns`, all features are numbers.
    """
    for target in targets_of(about):
        if target in RESERVED_KEYS[signature_task(about)]:
            raise StepError(
                f"target: {target!r}; every response of a {signature_task(about)} has that key; rename the column"
            )
    number = str(ColumnType.NUMBER)
    columns = about.get("columns") or [ColumnSchema(name=feature, type=number) for feature in about["features"]]
    signature = Signature(
        format=FORMAT,
        model=name,
        task=str(signature_task(about)),
        target=about["target"],
        features=[_profile(schema, values) for schema, values in zip(columns, rows.T, strict=True)],
        classes=about["classes"],
        sha256=sha256_hex(onnx),
        metrics={},
        data=DataFingerprint(source=about["source"], sha256=about["sha256"], rows=int(about["rows"])),
        libraries=_library_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if len(targets_of(about)) > 1:
        signature["targets"] = targets_of(about)
    if about.get("unit"):
        signature["unit"] = about["unit"]
    return signature


def _profile(schema: ColumnSchema, values: Column) -> FeatureProfile:
    present = values[~np.isnan(values)]
    if not len(present):
        raise StepError(f"column {schema['name']}: all training rows lack a value; leave it out with `ignore`")
    return FeatureProfile(
        **schema,
        minimum=short(present.min()),
        maximum=short(present.max()),
        mean=short(present.mean(dtype=np.float64)),
        ranges=compute_ranges(values, may_miss=allows_nan(schema)),
    )


def _library_versions() -> dict[str, str]:
    import platform
    from importlib.metadata import version

    packages = {name: version(name) for name in ("scikit-learn", "skl2onnx", "onnx")}
    return packages | {"python": platform.python_version()}


def save_model_directory(folder: Path, onnx: bytes, signature: Signature) -> None:
    """Write a model directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ONNX_FILE).write_bytes(onnx)
    (folder / SIGNATURE_FILE).write_text(json.dumps(signature, indent=2) + "\n")


def load_model_directory(folder: Path) -> ModelDirectory:
    """Read a model directory.

    Raises:
        StepError: A file is missing, the signature is not a JSON object with a SHA-256, or the model has another.
    """
    try:
        onnx = (folder / ONNX_FILE).read_bytes()
        signature: Signature = json.loads((folder / SIGNATURE_FILE).read_bytes())
        stated = signature["sha256"]
    except FileNotFoundError as error:
        raise StepError(
            f"{error.filename} does not exist; a model directory holds {ONNX_FILE} and {SIGNATURE_FILE}"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StepError(f"{SIGNATURE_FILE} is not a JSON object with `sha256`: {error!r}") from None
    if (actual := sha256_hex(onnx)) != stated:
        raise StepError(f"{ONNX_FILE} was changed: its SHA-256 is {actual}, its signature says {stated}")
    return ModelDirectory(onnx, signature)


def load_importance(folder: Path) -> dict[str, float]:
    """Return the share of each feature by name; empty for a model without `importance.json`."""
    file = folder / IMPORTANCE_FILE
    importance: dict[str, float] = json.loads(file.read_text()) if file.is_file() else {}
    return importance


def require_servable(model: ModelDirectory, further_rows: Rows | None = None) -> None:
    """Predict rows of the training range, and require the outputs that the model server needs.

    Args:
        model: The model.
        further_rows: Rows [rows, features] that are predicted, too.

    Raises:
        StepError: The model cannot be loaded, or an output has another type, shape or range of values.
    """
    rows = _probes(model.signature["features"])
    if further_rows is not None:
        rows = np.concatenate([rows, further_rows])
    refused = f"model {model.signature['model']} cannot be served"
    try:
        if signature_task(model.signature) is Task.REGRESSION:
            _check_values(refused, model.predict_values(rows), (len(rows), len(targets_of(model.signature))))
        elif signature_task(model.signature) is Task.ANOMALY:
            _check_anomalies(refused, *model.predict_anomalies(rows), len(rows))
        else:
            _check_classes(refused, *model.predict(rows), (len(rows), len(model.signature["classes"])))
    except StepError:
        raise
    except Exception as error:  # ONNX Runtime's errors have no common base class
        raise StepError(f"{refused}: ONNX Runtime fails with {str(error)[:300]}") from None


def _probes(features: Sequence[FeatureProfile]) -> Rows:
    """Return rows with the least, mean and largest value of each feature, and one without what may be missing."""
    rows = np.array([[feature[key] for feature in features] for key in ("minimum", "mean", "maximum")], np.float32)
    whole = [feature["type"] in WHOLE_TYPES if "type" in feature else False for feature in features]
    rows[:, whole] = rows[:, whole].round()
    missing = np.where([allows_nan(feature) for feature in features], np.float32(np.nan), rows[1])
    return np.concatenate([rows, [missing]]).astype(np.float32)


def _check_values(refused: str, values: NDArray[np.float32], shape: tuple[int, int]) -> None:
    if values.shape != shape or values.dtype != np.float32:
        raise StepError(f"{refused}: its output `value` must be float32 of the shape {shape}, not {values.shape}")
    if not np.isfinite(values).all():
        raise StepError(f"{refused}: its output `value` is not finite for a row of the training range")


def _check_anomalies(refused: str, anomalies: NDArray[Any], scores: NDArray[Any], rows: int) -> None:
    found = [(output.shape, str(output.dtype)) for output in (anomalies, scores)]
    if found != [((rows,), "bool"), ((rows,), "float32")]:
        raise StepError(f"{refused}: its outputs `anomaly` and `score` must be bool and float32 [rows], not {found}")
    if not np.isfinite(scores).all():
        raise StepError(f"{refused}: its output `score` is not finite for a row of the training range")


def _check_classes(refused: str, labels: Labels, probabilities: NDArray[np.float32], shape: tuple[int, int]) -> None:
    rows, classes = shape
    if getattr(probabilities, "shape", None) != shape:
        raise StepError(f"{refused}: its output `probabilities` must have one column for each of {classes} classes")
    fault = ""
    if not np.isfinite(probabilities).all() or np.abs(probabilities.sum(axis=1) - 1).max() > PROBABILITY_TOLERANCE:
        fault = "does not add up to 1 in each row"
    elif np.abs(probabilities - 0.5).max() > 0.5 + PROBABILITY_TOLERANCE:
        fault = f"has numbers from {probabilities.min():.3g} to {probabilities.max():.3g}; each must be from 0 to 1"
    if fault:
        raise StepError(
            f"{refused}: its output `probabilities` {fault}; train a classifier with predict_proba and export it with "
            "save_classifier; in the file of another tool, numbers before a softmax or a sigmoid are `holds: logits`"
        )
    if labels.shape != (rows,) or labels.dtype != np.int64 or not set(labels.tolist()) <= set(range(classes)):
        raise StepError(f"{refused}: its output `label` must be a class index from 0 to {classes - 1} for each row")


def sha256_hex(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
