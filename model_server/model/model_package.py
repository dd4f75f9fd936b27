"""A model as data: `model.onnx` and the `signature.json` that describes it. Nothing is unpickled."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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
RESERVED_KEYS = frozenset({"class_index", "probabilities", "model_name", "model_version"})
"""Keys of a response beside the signature's target."""
LARGEST = 3.4028234663852886e38
"""The largest float32."""
Text = Annotated[str, StringConstraints(min_length=1)]


class Ranges(BaseModel):
    """Distribution of a feature in the training data.

    `edges` are the upper ends of all ranges but the last. `shares` [edges + 1] are the shares of rows in each range.
    """

    model_config = ConfigDict(frozen=True)

    edges: tuple[FiniteFloat, ...]
    shares: tuple[FiniteFloat, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Ranges:
        if list(self.edges) != sorted(set(self.edges)) or len(self.shares) != len(self.edges) + 1:
            raise ValueError("the edges must ascend, and there must be one more share than edges")
        return self


class Feature(BaseModel):
    """An input of the model and statistics of its training data; `ranges` is None if they were not recorded."""

    model_config = ConfigDict(frozen=True)

    name: Text
    minimum: FiniteFloat
    maximum: FiniteFloat
    mean: FiniteFloat
    type: Text | None = None
    """Type of the column in training: number, integer or boolean; None in signatures of early versions."""
    ranges: Ranges | None = None

    @property
    def accepts_booleans(self) -> bool:
        """True for a boolean column, and for numbers from 0 to 1, as other tools encode false and true."""
        return self.type == "boolean" or (self.minimum, self.maximum) == (0, 1)

    def bounds(self) -> tuple[float, float]:
        """Return the accepted range: ten training ranges beyond it, and no negatives if training had none."""
        span = self.maximum - self.minimum or max(abs(self.maximum), 1.0)
        low = self.minimum - 10 * span
        if self.minimum >= 0:
            low = max(low, 0.0)
        return max(low, -LARGEST), min(self.maximum + 10 * span, LARGEST)


class ModelSignature(BaseModel):
    """The members of `signature.json` that the server needs; `features` are in the model's order."""

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
        if self.target in RESERVED_KEYS:
            raise ValueError(f"the target must not be named {self.target}: every response has that key")
        for feature in self.features:
            if feature.minimum > feature.maximum:
                raise ValueError(f"{feature.name}: the minimum is above the maximum")
        return self


MEMBERS = frozenset(Ranges.model_fields) | frozenset(Feature.model_fields) | frozenset(ModelSignature.model_fields)


@dataclass(frozen=True)
class ModelPackage:
    """A model whose hash was checked: its version, its signature, and the bytes of `model.onnx`."""

    version: str
    signature: ModelSignature
    onnx: bytes


def read_package(folder: Path, version: str | None, expected: Mapping[str, str]) -> ModelPackage:
    """Return the verified package of a folder; raises OSError if a file cannot be read. See `verify_package`."""
    onnx, signature = (folder / MODEL_FILE).read_bytes(), (folder / SIGNATURE_FILE).read_bytes()
    return verify_package(onnx, signature, version, expected)


def verify_package(onnx: bytes, signature: bytes, version: str | None, expected: Mapping[str, str]) -> ModelPackage:
    """Return the package of these two files.

    Args:
        onnx: content of `model.onnx`.
        signature: content of `signature.json`.
        version: version of the model; the first 12 digits of its hash if None.
        expected: further SHA-256 of the model, by their source.

    Raises:
        ModelRefused: the signature is invalid, or the model has another SHA-256 than expected.
    """
    try:
        parsed = ModelSignature.model_validate_json(signature)
    except ValidationError as error:
        fault = error.errors()[0]
        path = "".join(f"{member}: " for member in fault["loc"] if isinstance(member, int) or member in MEMBERS)
        raise ModelRefused(f"{SIGNATURE_FILE} cannot be used: {path}{fault['msg']}") from None
    actual = hashlib.sha256(onnx).hexdigest()
    for source, sha256 in {SIGNATURE_FILE: parsed.sha256, **expected}.items():
        if sha256 != actual:
            stated = sha256 if re.fullmatch("[0-9a-f]{64}", sha256) else "none"
            raise ModelRefused(f"{MODEL_FILE} has SHA-256 {actual}, but {source} has {stated}", sha256)
    return ModelPackage(version or actual[:12], parsed, onnx)
