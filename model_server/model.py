"""A model in memory, ready to predict."""

from __future__ import annotations

import numpy as np
import onnxruntime

from model_server.errors import ModelRefused
from model_server.inputs import Inputs
from model_server.package import Package
from model_server.rows import RowReader

FEATURES = "features"
OUTPUTS = ["label", "probabilities"]
Rows = list[list[float]]


class Model:
    """An ONNX Runtime session over a package; `predict` may be called from many threads at once.

    Raises:
        ModelRefused: ONNX Runtime cannot load it, or it does not predict as its signature says.
    """

    def __init__(self, name: str | None, package: Package, max_rows: int) -> None:
        self.signature = package.signature
        self.name = name or self.signature.model
        self.version = package.version
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
        self.inputs = Inputs(self.name, self.version, self.signature)

    def predict(self, rows: Rows) -> tuple[list[int], Rows]:
        """Class indices [rows] and probabilities [rows, classes] of rows [rows, features] in the model's order."""
        batch = np.array(rows, dtype=np.float32)
        label, probabilities = self._session.run(OUTPUTS, {FEATURES: batch})
        self.inputs.see(batch)
        return label.tolist(), probabilities.tolist()

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
