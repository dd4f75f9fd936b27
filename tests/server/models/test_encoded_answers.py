"""Answers of a classification in JSON, which are encoded without building them."""

from __future__ import annotations

import orjson
import pytest

from model_server.model.model_package import ModelSignature
from model_server.model.prediction_task import Classification

CLASSES = ("50 %b", 'a"b', "größer", "a,b")


@pytest.fixture(scope="module")
def task() -> Classification:
    feature = {"name": "area", "minimum": 0, "maximum": 1, "mean": 0.5}
    return Classification(
        ModelSignature.model_validate(
            {"format": 1, "model": "homes", "target": "100 %", "features": [feature], "classes": CLASSES, "sha256": ""}
        )
    )


@pytest.mark.parametrize("label", range(len(CLASSES)))
@pytest.mark.parametrize(
    "probabilities", [(1.0, 0.0, -0.0, 1e-9), (0.10000000149011612, 3.4028234663852886e38, 1e16, 1e-45)]
)
def test_encode_equals_encoded_answer(task: Classification, label: int, probabilities: tuple[float, ...]) -> None:
    assert task.encode(label, probabilities) == orjson.dumps(task.answer(label, probabilities))
