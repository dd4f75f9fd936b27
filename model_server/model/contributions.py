"""Contributions of the features to an answer: exact for trees and linear models, read from their ONNX graphs.

What a graph computes behind its trees or its linear model is not read. The sums of the contributions are compared with
the model's answers to probe rows instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from model_server.model.model_package import ModelSignature
from model_server.model.tree_contributions import NoTrees, TreeContributions

KEY = "contributions"
"""Key of an answer with the contributions; in the open inference protocol, the parameter and the output tensor."""
SCALE = "contributions_scale"
"""Parameter of a response of the open inference protocol with the name of the scale."""
TREES = {"TreeEnsembleClassifier": "class", "TreeEnsembleRegressor": "target"}
LINEAR = ("LinearClassifier", "LinearRegressor")
FEATURE_STEPS = ("Scaler", "Imputer", "Identity")
"""Operators that change each feature alone."""
PROBABILITY, MARGIN, VALUE = "probability", "margin", "value"
PROBES = 20
MISSING_SHARE = 0.2
"""Share of missing values among the probe rows, for features that may be missing."""
TOLERANCE = 1e-4
Floats = NDArray[np.float64]
Run = Callable[[NDArray[np.float32]], NDArray[Any]]
"""Predicts rows [rows, features]; returns the probabilities or values [rows, outputs]."""


class NoContributions(Exception):
    """A model whose contributions cannot be computed; the message says why."""


class _Additive(Protocol):
    """A model whose answer is `base` and a contribution of each feature."""

    base: Floats
    trees: int
    cost: int

    def of(self, row: NDArray[np.float32]) -> Floats: ...


class _LinearContributions:
    """Coefficients [outputs, features]; a contribution is the coefficient times the distance from the mean."""

    def __init__(self, coefficients: Floats, intercepts: Floats, means: Floats) -> None:
        self._coefficients, self._means, self.trees = coefficients, means, 1
        self.base: Floats = intercepts + coefficients @ means
        self.cost = coefficients.size

    def of(self, row: NDArray[np.float32]) -> Floats:
        """Return the contribution [outputs, features] of each feature of a row."""
        return self._coefficients * (row - self._means)


@dataclass(frozen=True)
class Scale:
    """The quantity that contributions add up to, and the way from there to the model's answer.

    Args:
        name: `probability`, `value`, or `margin`: the number before a logistic function or softmax.
        factor: factor of the sums.
        answer: returns the model's answer [outputs] of such a sum [outputs].
    """

    name: str
    factor: float
    answer: Callable[[Floats], Floats]


class Contributions:
    """Contributions of the features of one model.

    Attributes:
        cost: arithmetic operations of a row.

    Raises:
        NoContributions: the model has neither trees nor a linear model, or its trees lack something.
    """

    def __init__(self, content: bytes, signature: ModelSignature, run: Run) -> None:
        self._names = list(signature.classes or signature.all_targets())
        self._features = [feature.name for feature in signature.features]
        graph = onnx.load_model_from_string(content).graph
        operators = list(dict.fromkeys(node.op_type for node in graph.node))
        refusal = _refusal(operators)
        if signature.task == "anomaly":
            raise NoContributions("contributions are for trees and linear models; the model detects anomalies")
        if KEY in signature.all_targets():
            raise NoContributions(f"its answers have no place for contributions, because a target is named {KEY}")
        try:
            self._steps, node = _first_model(graph)
            self._model = _additive(node, self._prepare(_means(signature)), len(self._names))
        except NoTrees as error:
            raise NoContributions(f"the model has no contributions: {error}") from None
        except (LookupError, ValueError):  # written in another of ONNX's forms
            raise NoContributions(refusal) from None
        scale = self._matching_scale(signature, run)
        if scale is None:
            raise NoContributions(refusal)
        self._scale = scale
        self.cost = self._model.cost

    @property
    def scale(self) -> str:
        """Name of the quantity that the contributions add up to."""
        return self._scale.name

    def explain(self, row: NDArray[np.float32]) -> dict[str, Any]:
        """Return the scale, and for each class or target the base and the contribution of each feature of a row."""
        of = {
            name: {"base": each[-1], "features": dict(zip(self._features, each, strict=False))}
            for name, each in zip(self._names, self.of(row).tolist(), strict=True)
        }
        return {"scale": self.scale, "of": of}

    def of(self, row: NDArray[np.float32]) -> Floats:
        """Return the contribution of each feature of a row, and the base behind them, [outputs, features + 1]."""
        base, parts = self._model.base * self._scale.factor, self._model.of(self._prepare(row)) * self._scale.factor
        if len(base) < len(self._names):  # the model has the numbers of the second class alone
            first = (1 - base) if self.scale == PROBABILITY else -base
            base, parts = np.concatenate([first, base]), np.concatenate([-parts, parts])
        return np.column_stack([parts, base])

    def _prepare(self, row: NDArray[np.float32]) -> NDArray[np.float32]:
        for step in self._steps:
            row = step(row)
        return row

    def _matching_scale(self, signature: ModelSignature, run: Run) -> Scale | None:
        """Return the scale with which the sums agree with the model's answers to probe rows."""
        rows = _probes(signature)
        sums = [self._model.base + self._model.of(self._prepare(row)).sum(axis=1) for row in rows]
        expected = run(rows)
        for scale in _scales(signature, self._model):
            answers = np.array([scale.answer(each * scale.factor) for each in sums])
            if answers.shape == expected.shape and np.allclose(answers, expected, TOLERANCE, TOLERANCE):
                return scale
        return None


def _refusal(operators: Sequence[str]) -> str:
    """Return why a model of these operators has no contributions."""
    model = next((each for each in operators if each in TREES or each in LINEAR), "")
    before = [each for each in operators[: operators.index(model)] if each not in FEATURE_STEPS] if model else []
    if before:
        return (
            "contributions are for trees and linear models behind scaling and imputation alone; before its "
            f"{model}, the model has {', '.join(before)[:300]}, as for columns of categories or of missing values"
        )
    return f"contributions are for trees and linear models; the model is made of {', '.join(operators)[:300]}"


def _first_model(graph: Any) -> tuple[list[Callable[[NDArray[np.float32]], NDArray[np.float32]]], Any]:
    """Return the steps that change each feature alone, and the node of the trees or the linear model behind them."""
    steps: list[Callable[[NDArray[np.float32]], NDArray[np.float32]]] = []
    current = "features"
    for node in graph.node:
        if node.input[0] != current:
            break
        if node.op_type in TREES or node.op_type in LINEAR:
            return steps, node
        steps.append(_step(node.op_type, _attributes(node)))
        current = node.output[0]
    raise LookupError(current)


def _step(operator: str, attributes: Mapping[str, Any]) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    if operator == "Scaler":
        offset, factor = (np.array(attributes[name], np.float32) for name in ("offset", "scale"))
        return lambda row: (row - offset) * factor
    if operator == "Imputer" and np.isnan(attributes.get("replaced_value_float", np.nan)):
        imputed = np.array(attributes["imputed_value_floats"], np.float32)
        return lambda row: np.where(np.isnan(row), imputed, row)
    if operator == "Identity":
        return lambda row: row
    raise LookupError(operator)


def _additive(node: Any, means: NDArray[np.float32], outputs: int) -> _Additive:
    attributes = _attributes(node)
    features = len(means)
    if prefix := TREES.get(node.op_type):
        ids = set(attributes[f"{prefix}_ids"])
        return TreeContributions(attributes, prefix, features, 1 if len(ids) == 1 else outputs)
    coefficients = np.array(attributes["coefficients"]).reshape(-1, features)
    intercepts = np.array(attributes.get("intercepts", [0.0] * len(coefficients)))
    return _LinearContributions(coefficients, intercepts, means.astype(float))


def _scales(signature: ModelSignature, model: _Additive) -> Iterator[Scale]:
    """Yield the known ways from the sums of trees or a linear model to the answer of the model."""
    if signature.task == "regression":
        yield Scale(VALUE, 1, lambda total: total)
        return
    votes = (1, 1 / model.trees)  # a forest may count the votes of its trees
    if len(model.base) == 1:
        for factor in votes:
            yield Scale(PROBABILITY, factor, lambda total: np.array([1 - total[0], total[0]]))
        yield Scale(MARGIN, 1, lambda total: _logistic(np.array([-total[0], total[0]])))
        return
    for factor in votes:
        yield Scale(PROBABILITY, factor, lambda total: total)
    yield Scale(MARGIN, 1, _softmax)
    yield Scale(MARGIN, 1, _logistic)
    yield Scale(MARGIN, 1, lambda total: _logistic(total) / _logistic(total).sum())


def _softmax(total: Floats) -> Floats:
    powers = np.exp(total - total.max())
    shares: Floats = powers / powers.sum()
    return shares


def _logistic(total: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-total))
    return result


def _means(signature: ModelSignature) -> NDArray[np.float32]:
    return np.array([feature.mean for feature in signature.features], np.float32)


def _probes(signature: ModelSignature) -> NDArray[np.float32]:
    """Return random rows within the ranges of the training data, with missing values; the same on every call."""
    random, features = np.random.default_rng(0), signature.features
    rows = random.uniform([f.minimum for f in features], [f.maximum for f in features], (PROBES, len(features)))
    rows[(random.random(rows.shape) < MISSING_SHARE) & [f.may_miss for f in features]] = np.nan
    return rows.astype(np.float32)


def _attributes(node: Any) -> dict[str, Any]:
    return {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
