"""Estimators by name: scikit-learn's, XGBoost's and LightGBM's, with parameters that are checked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from workloads.ml.data.target import Task
from workloads.ml.errors import StepError

BOOSTERS = {
    "xgboost": ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor"),
    "lightgbm": ("LGBMClassifier", "LGBMRegressor"),
}
LIBRARIES = ("sklearn", *BOOSTERS)
NESTED = ("estimator", "final_estimator", "regressor")
"""Parameters whose value is an estimator: a name, or a mapping of name and parameters."""
NESTED_LISTS = ("estimators",)
ONE_OR_ALL = ("max_features", "max_samples", "min_samples_leaf", "min_samples_split")
"""Parameters that mean a count if they are whole, and a share of all otherwise: 1 and 1.0 differ."""


def build_estimator(name: str, parameters: Mapping[str, Any], task: Task, seed: int) -> Any:
    """Return an estimator that is not trained yet.

    Args:
        name: Name of a class, such as `LogisticRegression`, or its full path, such as `sklearn.svm.SVC`.
        parameters: Arguments of the class.
        task: The task of the estimator.
        seed: Value of `random_state`, if the class has it and the parameters do not set it.

    Raises:
        StepError: There is no such estimator for the task, or a parameter does not exist.
    """
    from sklearn.base import is_classifier, is_outlier_detector, is_regressor

    kind = _find(name)
    allowed = _parameters_of(kind)
    if unknown := sorted(set(parameters) - set(allowed)):
        raise StepError(f"parameters: {name} has no {', '.join(unknown)}; it has: {', '.join(sorted(allowed))}")
    values = {key: _value(key, value, task, seed) for key, value in parameters.items()}
    if "random_state" in allowed:
        values.setdefault("random_state", seed)
    if name.rpartition(".")[2] == "LocalOutlierFactor" and values.setdefault("novelty", True) is not True:
        raise StepError("parameters.novelty: it must be true; otherwise LocalOutlierFactor predicts no new rows")
    if kind.__module__.startswith("lightgbm"):
        values.setdefault("verbose", -1)  # otherwise LightGBM logs a line for each leaf that it cannot split
    try:
        estimator = kind(**values)
        wanted, is_wanted = {
            Task.CLASSIFICATION: ("a classifier", is_classifier),
            Task.REGRESSION: ("a regressor", is_regressor),
            Task.ANOMALY: ("an outlier detector", is_outlier_detector),
        }[task]
        fits = is_wanted(estimator)
    except Exception as error:  # a constructor may raise anything
        raise StepError(f"estimator: {name} cannot be created: {first_line(error)}") from None
    if not fits:
        raise StepError(f"estimator: {name} is not {wanted}, and the task is {task}")
    return estimator


def with_class_indices(parameters: Mapping[str, Any], classes: Sequence[str]) -> dict[str, Any]:
    """Return parameters with the indices of classes in place of their names in `class_weight`.

    Args:
        parameters: Arguments of an estimator, and of estimators in it.
        classes: The classes in the order of their indices.

    Raises:
        StepError: A weight is for a class that does not exist.
    """

    def replaced(key: str, value: Any) -> Any:
        if key == "class_weight" and isinstance(value, Mapping):
            if unknown := [name for name in value if name not in classes]:
                raise StepError(
                    f"parameters.class_weight: there is no class {unknown[0]!r}; the classes are: {', '.join(classes)}"
                )
            return {classes.index(name): weight for name, weight in value.items()}
        if isinstance(value, list):
            return [replaced(key, each) for each in value]
        return with_class_indices(value, classes) if isinstance(value, Mapping) else value

    return {key: replaced(key, value) for key, value in parameters.items()}


def fit_estimator(name: str, estimator: Any, rows: Any, labels: Any) -> Any:
    """Return the trained estimator.

    Raises:
        StepError: The estimator refuses its parameters or the data.
    """
    try:
        return estimator.fit(rows, labels)
    except Exception as error:  # estimators have no common base class of errors
        raise StepError(f"estimator: {name} cannot be trained: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, or the name of its class."""
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


def _find(name: str) -> type:
    from sklearn.base import OutlierMixin
    from sklearn.utils import all_estimators

    path, _, class_name = name.rpartition(".")
    if path:
        if path.partition(".")[0] not in LIBRARIES:
            raise StepError(f"estimator: {name}: only estimators of {', '.join(LIBRARIES)} are found by their path")
        try:
            return _class(import_module(path), class_name)
        except (ImportError, AttributeError) as error:
            raise StepError(f"estimator: {name} cannot be imported: {error}") from None
    for library, names in BOOSTERS.items():
        if name in names:
            return _class(import_module(library), name)
    known: dict[str, type] = dict(all_estimators(type_filter=["classifier", "regressor"]))
    known |= {kind.__name__: kind for _, kind in all_estimators() if issubclass(kind, OutlierMixin)}
    if name not in known:
        others = [*known, *(each for names in BOOSTERS.values() for each in names)]
        similar = get_close_matches(name, others, n=5, cutoff=0.5)
        hint = f"; similar names are: {', '.join(similar)}" if similar else ""
        raise StepError(f"estimator: there is no {name!r} in {', '.join(LIBRARIES)}{hint}")
    return known[name]


def _class(module: Any, name: str) -> type:
    found = getattr(module, name)
    if not (isinstance(found, type) and hasattr(found, "fit") and hasattr(found, "get_params")):
        raise StepError(f"estimator: {module.__name__}.{name} is not an estimator")
    return found


def _parameters_of(kind: Any) -> list[str]:
    """Return the names of a class's parameters; boosters take further ones by keyword, and list them themselves."""
    names = {
        name
        for name, parameter in inspect.signature(kind).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    if kind.__module__.partition(".")[0] in BOOSTERS:
        names |= set(kind().get_params())
    return sorted(names)


def _value(key: str, value: Any, task: Task, seed: int) -> Any:
    if key in NESTED and isinstance(value, str | Mapping):
        return _nested(key, value, task, seed)
    if key in NESTED_LISTS and isinstance(value, list):
        return [(f"{number}", _nested(key, each, task, seed)) for number, each in enumerate(value)]
    if key in ONE_OR_ALL and value == 1 and not isinstance(value, str):
        raise StepError(f"parameters.{key}: 1 may be a count or the share of all; write '1' or '1.0', with quotes")
    if key in ONE_OR_ALL and value in ("1", "1.0"):
        return int(value) if value == "1" else float(value)
    # Kubeflow Pipelines stores every number as a float.
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _nested(key: str, value: Any, task: Task, seed: int) -> Any:
    given: dict[str, Any] = {"name": value} if isinstance(value, str) else dict(value)
    if "name" not in given or set(given) - {"name", "parameters"}:
        raise StepError(f"parameters.{key}: {value!r}; it must be a name, or a mapping of name and parameters")
    return build_estimator(given["name"], given.get("parameters", {}), task, seed)
