"""A model in memory, ready to predict."""

from __future__ import annotations

import struct

import numpy as np
import onnxruntime

from model_server import telemetry
from model_server.codecs.row_reader import RowReader
from model_server.drift_counters import DriftCounters
from model_server.errors import ModelRefused
from model_server.model import quickscorer
from model_server.model.package import ModelPackage

FEATURES = "features"
OUTPUTS = ["label", "probabilities"]
Rows = list[list[float]]
PROBES = 1000
"""Rows that a forest must predict as ONNX Runtime does before it predicts in its place."""


class Model:
    """A package ready to predict; `predict` may be called from many threads at once.

    One row of a forest is predicted by `forest`, all else by ONNX Runtime.

    Raises:
        ModelRefused: ONNX Runtime cannot load it, or it does not predict as its signature says.
    """

    def __init__(self, name: str | None, package: ModelPackage, max_rows: int) -> None:
        self.signature = package.signature
        self.name = name or self.signature.model
        self.version = package.version
        self.identity = {"model_name": self.name, "model_version": self.version}
        self.rows = RowReader(self.signature, max_rows)
        options = onnxruntime.SessionOptions()
        # The workers are the parallelism: threads of their own would only take the cores from each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(package.onnx, options, providers=["CPUExecutionProvider"])
            self._smoke_test()
        except ModelRefused:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise ModelRefused(f"ONNX Runtime refuses it: {str(error)[:300]}") from None
        self._forest = self._proven(
            quickscorer.of_onnx(package.onnx, len(self.rows.names), len(self.signature.classes))
        )
        self._row = struct.Struct(f"={len(self.rows.names)}f")
        self._inputs = DriftCounters(self.name, self.version, self.signature)
        self._labels: list[int] = []

    def predict(self, rows: Rows) -> tuple[list[int], Rows]:
        """Class indices [rows] and probabilities [rows, classes] of rows [rows, features] in the model's order."""
        if self._forest and len(rows) == 1:
            label, shares = self.predict_row(rows[0])
            return [label], [shares]
        batch = np.array(rows, dtype=np.float32)
        labels, probabilities = self._session.run(OUTPUTS, {FEATURES: batch})
        if not np.isfinite(probabilities).all():
            raise FloatingPointError("the model predicts probabilities that are not finite")
        predicted: list[int] = labels.tolist()
        self._inputs.see(batch.tobytes())
        self._labels.extend(predicted)
        return predicted, probabilities.tolist()

    def predict_row(self, row: list[float]) -> tuple[int, list[float]]:
        """The class index and the probabilities [classes] of one row [features]."""
        if self._forest is None:
            (label,), (shares,) = self.predict([row])
            return label, shares
        packed = self._row.pack(*row)
        label, shares = self._forest.predict(self._row.unpack(packed))
        self._inputs.see(packed)
        self._labels.append(label)
        return label, shares

    def count(self) -> None:
        """Count what has been asked and predicted since the last time."""
        try:
            telemetry.predicted(self, telemetry.drain(self._labels))
        finally:
            self._inputs.count()

    def _proven(self, found: quickscorer.Forest | None) -> quickscorer.Forest | None:
        """The forest, if it predicts what the session does."""
        if found is None:
            return None
        rows = found.probes(PROBES)
        labels, probabilities = self._session.run(OUTPUTS, {FEATURES: rows})
        expected = list(zip(labels.tolist(), probabilities.tolist(), strict=True))
        return found if [found.predict(row) for row in rows.tolist()] == expected else None

    def _smoke_test(self) -> None:
        features, classes = self.signature.features, len(self.signature.classes)
        rows = [[f.minimum for f in features], [f.mean for f in features], [f.maximum for f in features]]
        for batch in (rows[:1], rows):
            label, probabilities = self._session.run(OUTPUTS, {FEATURES: np.array(batch, dtype=np.float32)})
            expected = ((len(batch),), (len(batch), classes))
            if (label.shape, probabilities.shape) != expected:
                raise ModelRefused(f"its outputs have shapes {label.shape} and {probabilities.shape}, not {expected}")
            if label.dtype != np.int64 or not ((label >= 0) & (label < classes)).all():
                raise ModelRefused(f"its labels are no class indices from 0 to {classes - 1}")
            if not np.isfinite(probabilities).all() or not np.allclose(probabilities.sum(axis=1), 1, atol=1e-3):
                raise ModelRefused("its probabilities are not finite numbers that add up to 1")
