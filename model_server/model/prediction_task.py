"""The tasks of models: their ONNX outputs, and the answers that the outputs become.

All classes have the same members. `outputs` are in the order of the arguments of all methods. `about` are members of
every response beside the predictions.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from model_server.errors import ModelRefused
from model_server.model.model_package import ModelSignature

Array = NDArray[Any]
KEPT_BYTES = 1 << 21
"""Approximate memory for the answers that a model keeps: those of a forest of 100 trees and three classes are 5,151."""
ANSWER_BYTES, CLASS_BYTES = 200, 60
"""Approximate memory of a kept answer without its classes, and of each class."""


class OutputTensor(NamedTuple):
    """An output of the ONNX model: its datatype in the open inference protocol, and its shape [-1, columns...]."""

    name: str
    datatype: str
    shape: list[int]


class Classification:
    """Prediction of one of the signature's classes."""

    def __init__(self, signature: ModelSignature) -> None:
        self._target = signature.target
        self._classes = signature.classes
        self._columns = _free_names(signature, ["label", "class", *(f"probability_{name}" for name in self._classes)])
        self.about: dict[str, str] = {}
        count = len(signature.classes)
        self._key = struct.Struct(f"=q{count}f")
        self.encode = _AnswerEncoder(signature.target, signature.classes)
        """Function that returns `answer` in JSON."""
        self._encoded = lru_cache(kept_answers(count))(partial(_encode, self.encode, self._key))
        self.outputs = (OutputTensor("label", "INT64", [-1]), OutputTensor("probabilities", "FP32", [-1, count]))

    def check(self, rows: int, arrays: Sequence[Array]) -> None:
        """Raise ModelRefused unless the labels are class indices and the probabilities add up to 1."""
        label, probabilities = arrays
        classes = len(self._classes)
        expected = ((rows,), (rows, classes))
        if (label.shape, probabilities.shape) != expected:
            raise ModelRefused(f"its outputs have shapes {label.shape} and {probabilities.shape}, not {expected}")
        if label.dtype != np.int64 or not ((label >= 0) & (label < classes)).all():
            raise ModelRefused(f"its labels are no class indices from 0 to {classes - 1}")
        if not np.isfinite(probabilities).all() or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
            raise ModelRefused("its probabilities are not finite numbers that add up to 1")

    def answer(self, label: int, probabilities: Sequence[float]) -> dict[str, Any]:
        """Return the class index, the class, and the probability of each class."""
        named = dict(zip(self._classes, probabilities, strict=True))
        return {"class_index": label, self._target: self._classes[label], "probabilities": named}

    def answers(self, labels: Array, probabilities: Array) -> list[orjson.Fragment]:
        """Return the answer of each row as JSON; recent answers are not encoded again."""
        columns = [
            np.ascontiguousarray(each).view(np.uint8).reshape(len(labels), -1) for each in (labels, probabilities)
        ]
        keys: list[bytes] = np.concatenate(columns, axis=1).view(f"V{self._key.size}").ravel().tolist()
        return list(map(self._encoded, keys))

    def record(self, label: int, probabilities: list[float]) -> dict[str, Any]:
        """Return the class index, the class, and the probability of each class."""
        return dict(zip(self._columns, [label, self._classes[label], *probabilities], strict=True))

    def classes(self, output: Sequence[int]) -> Sequence[int]:
        """Return the class indices."""
        return output


class Regression:
    """Prediction of one number for each target."""

    def __init__(self, signature: ModelSignature) -> None:
        self._targets = signature.all_targets()
        self._columns = _free_names(signature, [f"predicted_{target}" for target in self._targets])
        self.about: dict[str, str] = {"unit": signature.unit} if signature.unit else {}
        self.outputs = (OutputTensor("value", "FP32", [-1, len(self._targets)]),)

    def check(self, rows: int, arrays: Sequence[Array]) -> None:
        """Raise ModelRefused unless the values are finite numbers, one for each row and target."""
        (value,) = arrays
        expected = (rows, len(self._targets))
        if value.shape != expected or value.dtype != np.float32:
            raise ModelRefused(f"its output has shape {value.shape} and type {value.dtype}, not {expected} of float32")
        if not np.isfinite(value).all():
            raise ModelRefused("its values are not finite numbers")

    def answer(self, values: Sequence[float]) -> dict[str, Any]:
        """Return the value of each target as the shortest decimal of the float32: 5.1, not 5.099999904632568."""
        (answer,) = self.answers(np.array([values], np.float32))
        return answer

    def encode(self, values: Sequence[float]) -> bytes:
        """Return `answer` in JSON."""
        return orjson.dumps(self.answer(values))

    def answers(self, values: Array) -> list[dict[str, Any]]:
        """Return the answer of each row."""
        return [dict(zip(self._targets, row, strict=True)) for row in _short_decimals(values)]

    def record(self, values: list[float]) -> dict[str, Any]:
        """Return the value of each target."""
        return dict(zip(self._columns, values, strict=True))

    def classes(self, output: Sequence[object]) -> Sequence[int]:
        """Return 0 for each row."""
        return [0] * len(output)


class AnomalyDetection:
    """Decision whether a row is an anomaly, with a score that is higher the more the row deviates."""

    def __init__(self, signature: ModelSignature) -> None:
        self._columns = _free_names(signature, ["anomaly", "score"])
        self.about: dict[str, str] = {}
        self.outputs = (OutputTensor("anomaly", "BOOL", [-1]), OutputTensor("score", "FP32", [-1]))

    def check(self, rows: int, arrays: Sequence[Array]) -> None:
        """Raise ModelRefused unless there are a boolean and a finite number for each row."""
        found = [(output.shape, str(output.dtype)) for output in arrays]
        if found != [((rows,), "bool"), ((rows,), "float32")]:
            raise ModelRefused(f"its outputs are {found}, not {rows} of bool and {rows} of float32")
        if not np.isfinite(arrays[1]).all():
            raise ModelRefused("its scores are not finite numbers")

    def answer(self, anomaly: bool, score: float) -> dict[str, Any]:
        """Return the decision, and the score as the shortest decimal of the float32."""
        (answer,) = self.answers(np.array([anomaly]), np.array([score], np.float32))
        return answer

    def encode(self, anomaly: bool, score: float) -> bytes:
        """Return `answer` in JSON."""
        return orjson.dumps(self.answer(anomaly, score))

    def answers(self, anomalies: Array, scores: Array) -> list[dict[str, Any]]:
        """Return the answer of each row."""
        rows = zip(anomalies.tolist(), _short_decimals(scores), strict=True)
        return [{"anomaly": anomaly, "score": score} for anomaly, score in rows]

    def record(self, anomaly: bool, score: float) -> dict[str, Any]:
        """Return the decision and the score."""
        return dict(zip(self._columns, [anomaly, score], strict=True))

    def classes(self, output: Sequence[bool]) -> Sequence[int]:
        """Return 1 for each anomaly, 0 for each other row."""
        return [int(anomaly) for anomaly in output]


PredictionTask = Classification | Regression | AnomalyDetection
TASKS: dict[str, type[PredictionTask]] = {
    "classification": Classification,
    "regression": Regression,
    "anomaly": AnomalyDetection,
}


class _AnswerEncoder:
    """Encoder of the answers of a classification, in which only numbers differ between the answers of a class."""

    def __init__(self, target: str, classes: Sequence[str]) -> None:
        self._heads = [orjson.dumps({"class_index": label, target: name})[:-1] for label, name in enumerate(classes)]
        named = b",".join(orjson.dumps(name).replace(b"%", b"%%") + b":%b" for name in classes)
        self._tail = b',"probabilities":{' + named + b"}}"

    def __call__(self, label: int, probabilities: Sequence[float]) -> bytes:
        numbers = orjson.dumps(probabilities)[1:-1].split(b",")
        return self._heads[label] + self._tail % tuple(numbers)


def _encode(encode: _AnswerEncoder, outputs: struct.Struct, key: bytes) -> orjson.Fragment:
    label, *probabilities = outputs.unpack(key)
    return orjson.Fragment(encode(label, probabilities))


def kept_answers(classes: int) -> int:
    """Return the number of answers that a model with this number of classes keeps."""
    return KEPT_BYTES // (ANSWER_BYTES + CLASS_BYTES * classes)


def _short_decimals(values: Array) -> Any:
    """Return the values of a float32 array as lists of the shortest decimals: 5.1, not 5.099999904632568."""
    return orjson.loads(orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY))


def _free_names(signature: ModelSignature, columns: Sequence[str]) -> list[str]:
    """Return the names of columns of predictions; one that is a feature's name is preceded by `predicted_`."""
    features = {feature.name for feature in signature.features}
    return [f"predicted_{name}" if name in features else name for name in columns]


def task_of(signature: ModelSignature) -> PredictionTask:
    """Return the task of a model."""
    return TASKS[signature.task](signature)
