"""A model in memory, ready to predict."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import onnxruntime

from model_server.errors import ModelRefused
from model_server.model.model_package import ModelPackage, ModelSignature
from model_server.model.quickscorer import Forest, load_forest

FEATURES = "features"
OUTPUTS = ["label", "probabilities"]
Rows = list[list[float]]
PROBES = 1000
"""Rows for which a forest must predict the same as ONNX Runtime before it predicts instead."""


class Model:
    """A package in memory; several threads may predict at once.

    A forest predicts single rows within the interpreter. ONNX Runtime predicts everything else.

    Raises:
        ModelRefused: ONNX Runtime cannot load the model, or its outputs contradict its signature.
    """

    def __init__(self, name: str | None, package: ModelPackage) -> None:
        self.signature: ModelSignature = package.signature
        self.name = name or self.signature.model
        self.version = package.version
        self.key = (self.name, self.version, self.signature.sha256)
        self.identity = {"model_name": self.name, "model_version": self.version}
        features = len(self.signature.features)
        options = onnxruntime.SessionOptions()
        # The workers are the parallelism: further threads would only compete with them for cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(package.onnx, options, providers=["CPUExecutionProvider"])
            self._smoke_test()
        except ModelRefused:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base class
            raise ModelRefused("ONNX Runtime refuses it", str(error)[:300]) from None
        self._forest = self._proven_forest(package.onnx, features)
        self._float32_row = struct.Struct(f"={features}f")

    def predict(self, rows: Rows) -> tuple[list[int], Rows, bytes]:
        """Predict rows [rows, features] in the model's order.

        Returns:
            Class indices [rows], probabilities [rows, classes], and the rows as bytes of float32 [rows, features].
        """
        if self._forest and len(rows) == 1:
            label, shares, inputs = self.predict_row(rows[0])
            return [label], [shares], inputs
        batch = np.array(rows, dtype=np.float32)
        labels, probabilities = self._session.run(OUTPUTS, {FEATURES: batch})
        if not np.isfinite(probabilities).all():
            raise FloatingPointError("the model predicts probabilities that are not finite")
        return labels.tolist(), probabilities.tolist(), batch.tobytes()

    def predict_row(self, row: Sequence[float]) -> tuple[int, list[float], bytes]:
        """Predict one row [features]; return its class index, probabilities [classes], and bytes of float32."""
        if self._forest is None:
            (label,), (probabilities,), inputs = self.predict([list(row)])
            return label, probabilities, inputs
        inputs = self._float32_row.pack(*row)
        label, probabilities = self._forest.predict(self._float32_row.unpack(inputs))
        return label, probabilities, inputs

    def _proven_forest(self, onnx: bytes, features: int) -> Forest | None:
        """Return the forest of the model if it predicts the same as ONNX Runtime."""
        forest = load_forest(onnx, features, len(self.signature.classes))
        if forest is None:
            return None
        rows = forest.probes(PROBES)
        labels, probabilities = self._session.run(OUTPUTS, {FEATURES: rows})
        expected = list(zip(labels.tolist(), probabilities.tolist(), strict=True))
        return forest if [forest.predict(row) for row in rows.tolist()] == expected else None

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
