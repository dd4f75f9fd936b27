"""A model in memory, ready to predict."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache, partial
from threading import Lock
from typing import Any

import numpy as np
import onnxruntime
import orjson
from numpy.typing import NDArray

from model_server.errors import ModelRefused
from model_server.model.contributions import MISSING_SHARE, Contributions, NoContributions
from model_server.model.forest_cells import ForestCells
from model_server.model.forest_formulas import ForestFormulas
from model_server.model.model_package import ModelPackage, ModelSignature
from model_server.model.prediction_task import Array, kept_answers, task_of
from model_server.model.quickscorer import QuickScorer
from model_server.model.row_session import MOST_SECONDS, RowSession
from model_server.model.voting_forest import load_forest

FEATURES = "features"
Rows = Sequence[Sequence[float]] | NDArray[Any]
Outputs = list[Array]
"""The values [rows, ...] of each output of the model, in the order of `PredictionTask.outputs`."""
RowOutputs = tuple[Any, ...]
"""The values of each output for one row."""
NOT_FINITE = "the model predicts numbers that are not finite"
PROBES = 1000
"""Rows for which a forest must predict the same as ONNX Runtime before it predicts instead."""


class Model:
    """A package in memory; several threads may predict at once.

    `encode_answer` returns the response in JSON to a request for one row, from the outputs for the row. Nothing in a
    model refers to the model, so that its memory is free as soon as another one is served.

    A forest that votes predicts single rows and batches by its cells, if these are few. Otherwise it predicts single
    rows by `QuickScorer`, and batches by formulas of its branches, if these are few. ONNX Runtime predicts the rest.

    Raises:
        ModelRefused: ONNX Runtime cannot load the model, or its outputs contradict its signature.
    """

    def __init__(self, name: str | None, package: ModelPackage) -> None:
        self.signature: ModelSignature = package.signature
        self.name = name or self.signature.model
        self.version = package.version
        self.key = (self.name, self.version, self.signature.sha256)
        self.task = task_of(package.signature)
        self.identity = {"model_name": self.name, "model_version": self.version}
        self.about: dict[str, str] = self.task.about | self.identity
        self._output_names = [output.name for output in self.task.outputs]
        self._onnx = package.onnx
        features = len(self.signature.features)
        self._missing = np.array([f.may_miss for f in self.signature.features])
        self._may_miss = bool(self._missing.any())
        whole = ("integer", "boolean", "category")
        self._whole = np.array([self.signature.type_of(f) in whole for f in self.signature.features])
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
        self._scorer: Callable[[Sequence[float]], RowOutputs] | None = None
        self._batches: ForestCells | ForestFormulas | None = None
        self._use_forest(package.onnx, features)
        self._row_session = None if self._scorer else self._checked_row_session()
        self.encode_answer: Callable[..., bytes] = partial(_encode_answer, self.task.encode, orjson.dumps(self.about))
        if self._scorer:
            # The answers of a forest repeat: it has one for each division of its trees' votes among the classes.
            self.encode_answer = lru_cache(kept_answers(len(self.signature.classes)))(self.encode_answer)
        self._float32_row = struct.Struct(f"={features}f")
        self._reading = Lock()

    def predict(self, rows: Rows) -> tuple[Outputs, bytes]:
        """Predict rows [rows, features] in the model's order; return also the rows as bytes of float32."""
        if self._scorer and len(rows) == 1:
            (label, probabilities), inputs = self.predict_row(rows[0])
            return [np.array([label], np.int64), np.array([probabilities], np.float32)], inputs
        batch = np.asarray(rows, np.float32)
        fast = self._batches if self._batches and len(batch) >= self._batches.least_rows else None
        outputs = fast.predict(batch) if fast else self._run(batch)
        if not np.isfinite(outputs[-1]).all():
            raise FloatingPointError(NOT_FINITE)
        return outputs, batch.tobytes()

    def predict_row(self, row: Sequence[float]) -> tuple[RowOutputs, bytes]:
        """Predict one row [features]; return its outputs, and the row as bytes of float32."""
        inputs = self._float32_row.pack(*row)
        if self._scorer is None:
            outputs = (self._row_session.predict if self._row_session else self._run_row)(inputs)
            last = outputs[-1]
            # A sum of finite float32 values is finite, because Python adds in float64.
            if not math.isfinite(sum(last) if type(last) is tuple else last):
                raise FloatingPointError(NOT_FINITE)
            return outputs, inputs
        rounded: Sequence[float] = self._float32_row.unpack(inputs)
        return self._scorer(_nan_as_infinity(rounded) if self._may_miss else rounded), inputs

    @property
    def contributions(self) -> Contributions | str:
        """The contributions of the features, or the reason why the model has none.

        The first use reads the graph, which takes up to seconds. Other threads wait for it.
        """
        with self._reading:
            return self._contributions

    @cached_property
    def _contributions(self) -> Contributions | str:
        run, names = self._session.run, self._output_names
        try:
            return Contributions(self._onnx, self.signature, lambda rows: run(names, {FEATURES: rows})[-1])
        except NoContributions as error:
            return str(error)

    @property
    def has_contributions(self) -> bool:
        """True if the contributions of the features can be computed."""
        return isinstance(self.contributions, Contributions)

    def _run(self, batch: NDArray[np.float32]) -> Outputs:
        arrays: Outputs = self._session.run(self._output_names, {FEATURES: batch})
        return arrays

    def _run_row(self, inputs: bytes) -> RowOutputs:
        """Predict a row, given as the bytes of float32 [features]."""
        arrays = self._run(np.frombuffer(inputs, np.float32)[np.newaxis])
        return tuple([tuple(array[0].tolist()) if array.ndim > 1 else array[0].item() for array in arrays])

    def _checked_row_session(self) -> RowSession | None:
        """Return a session for single rows, if it is fast and predicts the same as ONNX Runtime's Python interface."""
        try:
            rows = [row.tobytes() for row in self._probes()]
            session = RowSession(self._onnx, len(self.signature.features), self.task.outputs)
            is_fast = session.seconds(rows[:20]) < MOST_SECONDS
            is_same = is_fast and list(map(session.predict, rows)) == list(map(self._run_row, rows))
        except Exception:  # of either interface; the Python one reports what concerns a request
            return None
        return session if is_same else None

    def _probes(self) -> NDArray[np.float32]:
        """Return random rows [PROBES, features] within the training data's ranges, and missing values that may be."""
        random, features = np.random.default_rng(0), self.signature.features
        rows = random.uniform([f.minimum for f in features], [f.maximum for f in features], (PROBES, len(features)))
        rows[:, self._whole] = rows[:, self._whole].round()
        rows[(random.random(rows.shape) < MISSING_SHARE) & self._missing] = np.nan
        return rows.astype(np.float32)

    def _use_forest(self, onnx: bytes, features: int) -> None:
        """Predict with the forest of the model, wherever it predicts the same as ONNX Runtime."""
        forest = load_forest(onnx, features, len(self.signature.classes))
        if forest is None:
            return
        rows = forest.probes(PROBES)
        rows[(np.random.default_rng(0).random(rows.shape) < MISSING_SHARE) & self._missing] = np.nan
        expected = self._run(rows)
        cells = ForestCells(forest) if forest.has_few_cells else None
        batches = cells or (ForestFormulas(forest) if forest.has_few_branches else None)
        if cells or forest.has_small_masks:
            scorer = cells.predict_row if cells else QuickScorer(forest).predict
            labels, probabilities = (output.tolist() for output in expected)
            values = list(zip(labels, map(tuple, probabilities), strict=True))
            if list(map(scorer, map(_nan_as_infinity, rows.tolist()))) == values:
                self._scorer = scorer
        if batches and all(np.array_equal(*outputs) for outputs in zip(batches.predict(rows), expected, strict=True)):
            self._batches = batches

    def _smoke_test(self) -> None:
        """Predict rows of the training data's ranges, and a row in which all values are missing that may be."""
        features = self.signature.features
        means = [round(f.mean) if whole else f.mean for f, whole in zip(features, self._whole, strict=True)]
        rows = [[f.minimum for f in features], means, [f.maximum for f in features]]
        if self._may_miss:
            rows.append(np.where(self._missing, np.nan, means).tolist())
        for batch in (rows[:1], rows):
            self.task.check(len(batch), self._run(np.array(batch, dtype=np.float32)))


def _encode_answer(encode: Callable[..., bytes], about: bytes, *outputs: Any) -> bytes:
    return encode(*outputs)[:-1] + b"," + about[1:]


def _nan_as_infinity(row: Sequence[float]) -> list[float]:
    """Return a row for a forest: NaN is above all thresholds, because no comparison with NaN is true."""
    return [math.inf if value != value else value for value in row]
