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
RESERVED_KEYS = {
    "classification": frozenset({"class_index", "probabilities", "model_name", "model_version"}),
    "regression": frozenset({"unit", "model_name", "model_version"}),
    "anomaly": frozenset[str](),
}
"""Keys of a response beside the signature's targets, by task. A response of an anomaly detection has no target."""
TYPES = ("number", "integer", "boolean", "category", "date")
"""Types of a feature in format 2."""
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
    missing: FiniteFloat | None = None
    """Share of rows without a value. None if it was not recorded; `shares` are then those of the rows with one."""

    @model_validator(mode="after")
    def _consistent(self) -> Ranges:
        if list(self.edges) != sorted(set(self.edges)) or len(self.shares) != len(self.edges) + 1:
            raise ValueError("the edges must ascend, and there must be one more share than edges")
        return self


class Feature(BaseModel):
    """An input of the model and statistics of its encoded training data.

    The encoding of each type is in `model_server.codecs.input_columns`.
    """

    model_config = ConfigDict(frozen=True)

    name: Text
    minimum: FiniteFloat
    maximum: FiniteFloat
    mean: FiniteFloat
    type: Text | None = None
    """A type of `TYPES`; None in signatures of early versions."""
    ranges: Ranges | None = None
    """None if the distribution was not recorded."""
    missing: bool = False
    """True if a value may be missing; the model then reads NaN."""
    missing_texts: tuple[str, ...] = ()
    """Texts that are missing values, beside null and an empty cell of a CSV file."""
    categories: tuple[str, ...] = ()
    """The values of a category; the model reads their indices."""
    unknown: bool = False
    """True if other categories count as missing values. Otherwise the server refuses them."""

    @property
    def may_miss(self) -> bool:
        """True if the model may read NaN for the feature."""
        return self.missing or self.unknown

    @property
    def accepts_booleans(self) -> bool:
        """True for a boolean column, and for numbers from 0 to 1, as other tools encode false and true."""
        return self.type == "boolean" or (self.minimum, self.maximum) == (0, 1)

    def bounds(self) -> tuple[float, float]:
        """Return the accepted range: ten training ranges beyond it, and no negatives if training had none."""
        span = self.maximum - self.minimum or max(abs(self.maximum), 1.0)
        low = self.minimum - 10 * span
        if self.minimum >= 0 and self.type != "date":
            low = max(low, 0.0)
        return max(low, -LARGEST), min(self.maximum + 10 * span, LARGEST)


class ModelSignature(BaseModel):
    """The members of `signature.json` that the server needs; `features` are in the model's order."""

    model_config = ConfigDict(frozen=True)

    format: Literal[1, 2]
    model: Text
    task: Literal["classification", "regression", "anomaly"] = "classification"
    target: Text
    targets: tuple[Text, ...] = ()
    """All targets of a regression; empty if `target` is the only one."""
    unit: Text | None = None
    """Unit of the targets of a regression."""
    features: tuple[Feature, ...] = Field(min_length=1)
    classes: tuple[Text, ...] = ()
    sha256: str
    metrics: dict[str, float] = {}

    @model_validator(mode="after")
    def _consistent(self) -> ModelSignature:
        names = [feature.name for feature in self.features]
        targets = self.all_targets()
        for what, values in (("feature", names), ("class", self.classes), ("target", targets)):
            if len(set(values)) != len(values):
                raise ValueError(f"a {what} is named twice")
        if self.task == "classification" and not self.classes:
            raise ValueError("classes must not be empty in a classification")
        if self.task == "regression" and (self.classes or self.format == 1 or self.target not in targets):
            raise ValueError("a regression needs format 2, no classes, and its target among its targets")
        if self.task == "anomaly" and (len(self.classes) != 2 or self.format == 1):
            raise ValueError("an anomaly detection needs format 2 and two classes: the normal one, then the other")
        if self.task != "regression" and targets != (self.target,):
            raise ValueError("targets may be several in a regression alone")
        for target in targets:
            if target in RESERVED_KEYS[self.task]:
                raise ValueError(f"the target must not be named {target}: every response has that key")
        for feature in self.features:
            if feature.minimum > feature.maximum:
                raise ValueError(f"{feature.name}: the minimum is above the maximum")
            if self.format > 1:
                _check_type(feature)
        return self

    def all_targets(self) -> tuple[str, ...]:
        """Return the names of all targets, in the order of the model's output."""
        return self.targets or (self.target,)

    def type_of(self, feature: Feature) -> str:
        """Return how the server reads a feature: in format 1, integers and booleans are numbers too."""
        return feature.type or "number" if self.format > 1 else "number"


def _check_type(feature: Feature) -> None:
    """Raise ValueError unless the members of a feature of format 2 go together."""
    name, categories = feature.name, feature.categories
    if feature.type not in TYPES:
        raise ValueError(f"{name}: in format 2, the type must be one of {', '.join(TYPES)}")
    if (feature.type == "category") != bool(categories) or len(set(categories)) != len(categories):
        raise ValueError(f"{name}: a category, and no other type, needs categories; each must be named once")
    if feature.unknown and feature.type != "category":
        raise ValueError(f"{name}: only a category may be unknown")
    limits = {"boolean": (0, 1), "category": (0, len(categories) - 1)}
    low, high = limits.get(feature.type, (feature.minimum, feature.maximum))
    if not low <= feature.minimum <= feature.maximum <= high:
        raise ValueError(f"{name}: the minimum and the maximum must be from {low} to {high}")


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
