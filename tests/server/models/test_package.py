"""Validation of a model's signature, and the range of accepted values."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from model_server.errors import ModelRefused
from model_server.model.model_package import LARGEST, Feature, verify_package

ONNX = b"any bytes"
SIGNATURE: dict[str, Any] = {
    "format": 1,
    "model": "iris",
    "target": "species",
    "features": [{"name": "a", "minimum": 1.0, "maximum": 2.0, "mean": 1.5}],
    "classes": ["x", "y"],
    "sha256": hashlib.sha256(ONNX).hexdigest(),
    "metrics": {"accuracy": 0.9},
}


@pytest.mark.parametrize(
    ("minimum", "maximum", "bounds"),
    [
        (1.0, 2.0, (0.0, 12.0)),  # no negatives where training had none
        (-1.0, 1.0, (-21.0, 21.0)),
        (5.0, 5.0, (0.0, 55.0)),  # a constant: the span is the value itself
        (-5.0, -5.0, (-55.0, 45.0)),
        (0.0, 0.0, (0.0, 10.0)),  # or 1, where that is more
        (-0.5, -0.5, (-10.5, 9.5)),
        (-3e38, 3e38, (-LARGEST, LARGEST)),  # what a float32 can hold
    ],
)
def test_bounds_are_ten_spans_beyond_training_range(
    minimum: float, maximum: float, bounds: tuple[float, float]
) -> None:
    assert Feature(name="a", minimum=minimum, maximum=maximum, mean=minimum).bounds() == bounds


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format"),
        ({"target": "probabilities"}, "must not be named probabilities"),
        ({"classes": []}, "classes"),
        ({"classes": ["x", "x"]}, "named twice"),
        ({"features": SIGNATURE["features"] * 2}, "named twice"),
        ({"features": [{"name": "a", "minimum": 2, "maximum": 1, "mean": 1}]}, "minimum is above"),
        ({"features": [{"name": "", "minimum": 1, "maximum": 1, "mean": 1}]}, "features: 0: name"),
        ({"sha256": "0" * 64}, "signature.json has 0000"),
    ],
)
def test_verify_package_invalid_signature_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelRefused, match=message):
        verify_package(ONNX, json.dumps(SIGNATURE | changes).encode(), "1", {})


def test_verify_package_unknown_members_are_ignored_and_hash_is_default_version() -> None:
    package = verify_package(ONNX, json.dumps(SIGNATURE | {"data": {}, "more": 1}).encode(), None, {})
    assert package.version == SIGNATURE["sha256"][:12]
