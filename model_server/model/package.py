"""A model as data: `model.onnx` and the `signature.json` that describes it. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StringConstraints,
    ValidationError,
    model_validator,
)

from model_server.errors import ModelRefused

MODEL_FILE = "model.onnx"
SIGNATURE_FILE = "signature.json"
ANSWER_KEYS = frozenset({"class_index", "probabilities", "model_name", "model_version"})
"""Keys of an answer beside the signature's target."""
LARGEST = 3.4028234663852886e38
"""The largest float32."""
Text = Annotated[str, StringConstraints(min_length=1)]


class Ranges(BaseModel):
    """Training data by ranges: `edges` are the upper ends of all but the last, `shares` [edges + 1] are of the rows."""

    model_config = ConfigDict(frozen=True)

    edges: tuple[FiniteFloat, ...]
    shares: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Ranges:
        if list(self.edges) != sorted(set(self.edges)) or len(self.shares) != len(self.edges) + 1:
            raise ValueError("the edges must ascend, and the shares be one more than they")
        return self


class Feature(BaseModel):
    """One input of the model and what its training data were like; `ranges` is None where nobody wrote them down."""

    model_config = ConfigDict(frozen=True)

    name: Text
    minimum: FiniteFloat
    maximum: FiniteFloat
    mean: FiniteFloat
    ranges: Ranges | None = None

    def bounds(self) -> tuple[float, float]:
        """What is accepted: ten times the training range beyond it, and no negatives where training had none."""
        span = self.maximum - self.minimum or max(abs(self.maximum), 1.0)
        low = self.minimum - 10 * span
        if self.minimum >= 0:
            low = max(low, 0.0)
        return max(low, -LARGEST), min(self.maximum + 10 * span, LARGEST)


class ModelSignature(BaseModel):
    """What the server needs of `signature.json`; `features` stand in the order the model takes them."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1]
    model: Text
    target: Text
    features: tuple[Feature, ...] = Field(min_length=1)
    classes: tuple[Text, ...] = Field(min_length=1)
    sha256: str
    metrics: dict[str, float] = {}

    @model_validator(mode="after")
    def _consistent(self) -> ModelSignature:
        names = [feature.name for feature in self.features]
        if len(set(names)) != len(names) or len(set(self.classes)) != len(self.classes):
            raise ValueError("a feature or class is named twice")
        if self.target in ANSWER_KEYS:
            raise ValueError(f"the target must not be named {self.target}: an answer has that key already")
        for feature in self.features:
            if feature.minimum > feature.maximum:
                raise ValueError(f"{feature.name}: the minimum is above the maximum")
        return self


@dataclass(frozen=True)
class ModelPackage:
    """A model whose hash is right: its version, its signature, and the bytes of `model.onnx`."""

    version: str
    signature: ModelSignature
    onnx: bytes


def verified(onnx: bytes, signature: bytes, version: str | None, expected: Mapping[str, str]) -> ModelPackage:
    """The package of these two files; without a `version`, the hash's first 12 digits name it.

    `expected` has further SHA-256 of the model, by who names them.

    Raises:
        ModelRefused: the signature cannot be used, or the model's SHA-256 is not the one that somebody names.
    """
    try:
        described = ModelSignature.model_validate_json(signature)
    except ValidationError as error:
        fault = error.errors()[0]
        where = "".join(f"{part}: " for part in fault["loc"])
        raise ModelRefused(f"{SIGNATURE_FILE} cannot be used: {where}{fault['msg']}") from None
    found = hashlib.sha256(onnx).hexdigest()
    for source, sha256 in {SIGNATURE_FILE: described.sha256, **expected}.items():
        if sha256 != found:
            raise ModelRefused(f"{MODEL_FILE} has SHA-256 {found}, but {source} has {sha256}")
    return ModelPackage(version or found[:12], described, onnx)
