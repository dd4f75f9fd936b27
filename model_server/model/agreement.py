"""Agreement of a canary with the champion: both predict the rows of the canary's requests."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from model_server.errors import ModelRefused
from model_server.model.model import Model
from model_server.model.model_package import read_package
from model_server.settings import ServerSettings

MOST_ROWS = 1000
"""Rows that are compared between two counts: more would take processor time from requests."""
SAME, DIFFERENT = "same", "different"
TOLERANCE = "rmse"
"""Metric of the champion by which the values of a regression may differ."""
logger = logging.getLogger(__name__)


def load_champion(settings: ServerSettings) -> Model | None:
    """Return the model to compare with; None without one, or if it cannot be loaded: a canary has to serve."""
    if settings.champion_directory is None:
        return None
    try:
        return Model(None, read_package(settings.champion_directory, settings.champion_version, {}))
    except (ModelRefused, OSError) as error:
        logger.error("the canary is not compared with version %s: %s", settings.champion_version, error)
        return None


class Agreement:
    """Counters of rows that a model and the champion predict the same, or differently.

    Classes and decisions have to be equal. Values of a regression may differ by the RMSE of the champion.

    Args:
        model: the served model.
        champion: a model with the same columns and classes; rows are not compared with another one.
        rows: counter with the labels model, version, champion and result.
    """

    def __init__(self, model: Model, champion: Model, rows: Counter) -> None:
        self._model, self._champion = model, champion
        self._features = len(model.signature.features)
        self._comparable = _interface(model) == _interface(champion)
        if not self._comparable:
            logger.error("version %s has other columns or classes: it is not compared", champion.version)
        self._counters = {
            result: rows.labels(model.name, model.version, champion.version, result)
            for result in (SAME, DIFFERENT)
            if self._comparable
        }
        self._kept: list[bytes] = []
        self._missing = MOST_ROWS

    def keep(self, inputs: bytes) -> None:
        """Keep rows, given as the bytes of float32 [rows, features], for the next count."""
        width = 4 * self._features
        rows = min(self._missing, len(inputs) // width)
        if rows and self._comparable:
            self._missing -= rows
            self._kept.append(inputs[: rows * width])

    def count(self) -> None:
        """Predict the kept rows with both models and count them."""
        kept, self._kept, self._missing = self._kept, [], MOST_ROWS
        if not kept:
            return
        rows = np.frombuffer(b"".join(kept), np.float32).reshape(-1, self._features)
        same = self._same(*(model.predict(rows)[0][0] for model in (self._model, self._champion)))
        for result, count in ((SAME, int(same.sum())), (DIFFERENT, int((~same).sum()))):
            self._counters[result].inc(count)

    def _same(self, found: NDArray[np.generic], expected: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Return for each row whether the main outputs agree."""
        if self._model.signature.task != "regression":
            return np.asarray(found == expected)
        tolerance = self._champion.signature.metrics.get(TOLERANCE, 0.0)
        return np.asarray(np.isclose(found, expected, rtol=1e-6, atol=tolerance).all(axis=1))


def _interface(model: Model) -> tuple[object, ...]:
    """Return what two models must have in common to predict the same rows."""
    signature = model.signature
    columns = [(each.name, signature.type_of(each), each.categories, each.may_miss) for each in signature.features]
    return signature.task, signature.all_targets(), signature.classes, columns
