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
from model_server.model.prediction_task import Array, PredictionTask, kept_answers, task_of
from model_server.model.quickscorer import QuickScorer
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

    A forest that votes predicts single rows within the interpreter. It predicts batches by its cells, or by formulas of
    its branches, if these are few. ONNX Runtime predicts everything else.

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
        self._scorer: QuickScorer | None = None
        self._batches: ForestCells | ForestFormulas | None = None
        self._use_forest(package.onnx, features)
        self.encode_answer: Callable[..., bytes] = partial(_encode_answer, self.task, self.about)
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
            arrays = self._run(np.frombuffer(inputs, np.float32)[np.newaxis])
            outputs = tuple([array[0].tolist() for array in arrays])
            last = outputs[-1]
            if not all(map(math.isfinite, last if type(last) is list else [last])):
                raise FloatingPointError(NOT_FINITE)
            return outputs, inputs
        rounded: Sequence[float] = self._float32_row.unpack(inputs)
        return self._scorer.predict(_nan_as_infinity(rounded) if self._may_miss else rounded), inputs

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

    def _use_forest(self, onnx: bytes, features: int) -> None:
        """Predict with the forest of the model, wherever it predicts the same as ONNX Runtime."""
        forest = load_forest(onnx, features, len(self.signature.classes))
        if forest is None:
            return
        rows = forest.probes(PROBES)
        rows[(np.random.default_rng(0).random(rows.shape) < MISSING_SHARE) & self._missing] = np.nan
        expected = self._run(rows)
        if forest.has_small_masks:
            scorer = QuickScorer(forest)
            labels, probabilities = (output.tolist() for output in expected)
            values = list(zip(labels, map(tuple, probabilities), strict=True))
            if [scorer.predict(_nan_as_infinity(row)) for row in rows.tolist()] == values:
                self._scorer = scorer
        batches: ForestCells | ForestFormulas | None = None
        if forest.has_few_cells:
            batches = ForestCells(forest)
        elif forest.has_few_branches:
            batches = ForestFormulas(forest)
        if batches and all(np.array_equal(*outputs) for outputs in zip(batches.predict(rows), expected, strict=True)):
            self._batches = batches

    def _smoke_test(self) -> None:
        """Predict rows of the training data's ranges, and a row in which all values are missing that may be."""
        features = self.signature.features
        whole = [self.signature.type_of(feature) in ("integer", "boolean", "category") for feature in features]
        means = [round(f.mean) if is_whole else f.mean for f, is_whole in zip(features, whole, strict=True)]
        rows = [[f.minimum for f in features], means, [f.maximum for f in features]]
        if self._may_miss:
            rows.append(np.where(self._missing, np.nan, means).tolist())
        for batch in (rows[:1], rows):
            self.task.check(len(batch), self._run(np.array(batch, dtype=np.float32)))


def _encode_answer(task: PredictionTask, about: dict[str, str], *outputs: Any) -> bytes:
    return orjson.dumps(task.answer(*outputs) | about)


def _nan_as_infinity(row: Sequence[float]) -> list[float]:
    """Return a row for a forest: NaN is above all thresholds, because no comparison with NaN is true."""
    return [math.inf if value != value else value for value in row]
