"""Search spaces: the estimators of a search by short name, the ranges of their parameters, and grids."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from settings.pipelines.tuning import ParameterRange, TuneSection
from workloads.ml.data.target import Task
from workloads.ml.training.estimators import ONE_OR_ALL

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.distributions import BaseDistribution

ESTIMATOR = "estimator"
"""Name of the parameter of a trial that selects the estimator."""
GRID_POINTS = 3
CLASSES: dict[Task, dict[str, str]] = {
    Task.CLASSIFICATION: {
        "forest": "RandomForestClassifier",
        "boosting": "HistGradientBoostingClassifier",
        "linear": "LogisticRegression",
    },
    Task.REGRESSION: {
        "forest": "RandomForestRegressor",
        "boosting": "HistGradientBoostingRegressor",
        "linear": "Ridge",
    },
}
SINGLE_TARGET = ("boosting",)
"""Estimators that predict one number."""
TREES = {
    "forest": {
        "n_estimators": ParameterRange(integer=(50, 300)),
        "max_features": ("sqrt", 0.5, "1.0"),
        "min_samples_leaf": ParameterRange(integer=(1, 20), scale="log"),
    },
    "boosting": {
        "learning_rate": ParameterRange(number=(0.02, 0.3), scale="log"),
        "max_iter": ParameterRange(integer=(50, 300)),
        "max_leaf_nodes": ParameterRange(integer=(7, 63), scale="log"),
        "min_samples_leaf": ParameterRange(integer=(5, 50), scale="log"),
    },
}
LINEAR: dict[Task, dict[str, Any]] = {
    Task.CLASSIFICATION: {"C": ParameterRange(number=(0.001, 100), scale="log"), "max_iter": (1000,)},
    Task.REGRESSION: {"alpha": ParameterRange(number=(0.001, 1000), scale="log")},
}

Space = dict[str, Any]
"""Parameters of one estimator by name: a `ParameterRange`, or a sequence of values."""


def search_spaces(tune: TuneSection, task: Task, targets: int) -> dict[str, Space]:
    """Return the space of each estimator of a search; ranges of the settings replace the default ones."""
    defaults: dict[str, Any] = {**TREES, "linear": LINEAR[task]}
    named = tune.estimators or [name for name in defaults if targets == 1 or name not in SINGLE_TARGET]
    return {name: {**defaults.get(name, {}), **tune.parameters.get(name, {})} for name in named}


def class_of(estimator: str, task: Task) -> str:
    """Return the class of an estimator of a search."""
    return CLASSES[task].get(estimator, estimator)


def grid(spaces: Mapping[str, Space]) -> list[dict[str, Any]]:
    """Return all combinations of all estimators, as parameters of trials."""
    return [
        {ESTIMATOR: estimator, **dict(zip((key(estimator, name) for name in space), values, strict=True))}
        for estimator, space in spaces.items()
        for values in itertools.product(*(_grid_values(parameter) for parameter in space.values()))
    ]


def _grid_values(parameter: Any) -> Sequence[Any]:
    if not isinstance(parameter, ParameterRange):
        return tuple(parameter)
    spaced = np.geomspace if parameter.scale == "log" else np.linspace
    values = spaced(*parameter.bounds, parameter.points or GRID_POINTS)
    # Rounding may leave the range by its last digit.
    clipped = np.clip(values, *parameter.bounds).tolist()
    return sorted({round(value) for value in clipped}) if parameter.integer else clipped


def key(estimator: str, parameter: str) -> str:
    """Return the name of an estimator's parameter among the parameters of a trial."""
    return f"{estimator}.{parameter}"


def distributions(spaces: Mapping[str, Space]) -> dict[str, BaseDistribution]:
    """Return the distributions of the parameters of a trial by name."""
    from optuna.distributions import CategoricalDistribution

    return {
        ESTIMATOR: CategoricalDistribution(tuple(spaces)),
        **{
            key(estimator, name): _distribution(parameter)
            for estimator, space in spaces.items()
            for name, parameter in space.items()
        },
    }


def _distribution(parameter: Any) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(parameter, ParameterRange):
        return CategoricalDistribution(tuple(parameter))
    kind = IntDistribution if parameter.integer else FloatDistribution
    return kind(*parameter.bounds, log=parameter.scale == "log")  # type: ignore[arg-type]


def suggest(trial: Trial, spaces: Mapping[str, Space]) -> dict[str, Any]:
    """Choose an estimator and its parameters; return them as parameters of the trial."""
    estimator = trial.suggest_categorical(ESTIMATOR, tuple(spaces))
    for name, parameter in spaces[estimator].items():
        label = key(estimator, name)
        if not isinstance(parameter, ParameterRange):
            trial.suggest_categorical(label, tuple(parameter))
        elif parameter.integer:
            trial.suggest_int(label, *parameter.integer, log=parameter.scale == "log")
        else:
            low, high = parameter.bounds
            trial.suggest_float(label, low, high, log=parameter.scale == "log")
    return dict(trial.params)


def arguments(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the estimator from the parameters of a trial."""
    prefix = key(parameters[ESTIMATOR], "")
    own = {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
    return {name: _unambiguous(name, value) for name, value in own.items()}


def _unambiguous(name: str, value: Any) -> Any:
    """Return a text for 1 and 1.0 of parameters for which they differ: a range has either counts or shares."""
    return str(value) if name in ONE_OR_ALL and not isinstance(value, (str, bool)) and value == 1 else value
