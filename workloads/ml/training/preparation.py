"""Preparation of encoded rows for an estimator: imputation, scaling and one-hot encoding inside its pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from workloads.ml.data.columns import ColumnType
from workloads.ml.data.encoding import ColumnSchema, allows_nan

TREES = (
    "DecisionTree",
    "ExtraTree",
    "RandomForest",
    "GradientBoosting",
    "HistGradientBoosting",
    "XGB",
    "LGBM",
    "IsolationForest",
)
"""Beginnings of the names of estimators that split single columns: they need neither scaling nor one-hot columns."""
WITHOUT_MISSING = ("GradientBoosting", "IsolationForest")
"""Trees that take no missing values, or whose export does not."""
DISCRETE = (ColumnType.BOOLEAN, ColumnType.CATEGORY)


def prepare(estimator: Any, columns: Sequence[ColumnSchema]) -> tuple[Any, str]:
    """Return the estimator, in a scikit-learn pipeline if its rows need a preparation, and a sentence about that.

    Trees receive the encoded values; those that take no missing values receive imputed ones. Other estimators receive
    scaled numbers and one column for each category. For each feature that may be missing, an imputed value comes with a
    column that is 1 if the value is missing.
    """
    name = type(estimator).__name__
    if name.startswith(TREES):
        if not _nullable(columns) or (_takes_missing(estimator) and not name.startswith(WITHOUT_MISSING)):
            return estimator, f"{name} receives the encoded values"
        return _pipeline(_tree_steps(columns), estimator), f"{name} receives imputed values and missing indicators"
    scaled = not estimator.__sklearn_tags__().input_tags.positive_only
    steps = _other_steps(columns, scaled=scaled)
    parts = [
        "scaled numbers" if scaled else "numbers as they are",
        *(["one column for each category"] if _indices(columns, [ColumnType.CATEGORY]) else []),
        *(["imputed values and missing indicators"] if _nullable(columns) else []),
    ]
    return _pipeline(steps, estimator), f"{name} receives {', '.join(parts)}"


def _takes_missing(estimator: Any) -> bool:
    return bool(estimator.__sklearn_tags__().input_tags.allow_nan)


def _tree_steps(columns: Sequence[ColumnSchema]) -> list[tuple[str, Any, list[int]]]:
    from sklearn.impute import MissingIndicator, SimpleImputer

    discrete = _indices(columns, DISCRETE)
    numbers = [index for index in range(len(columns)) if index not in discrete]
    return [
        ("numbers", SimpleImputer(strategy="median"), numbers),
        ("codes", SimpleImputer(strategy="most_frequent"), discrete),
        ("missing", MissingIndicator(features="all"), _nullable(columns)),
    ]


def _other_steps(columns: Sequence[ColumnSchema], *, scaled: bool) -> list[tuple[str, Any, list[int]]]:
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    categories, booleans = _indices(columns, [ColumnType.CATEGORY]), _indices(columns, [ColumnType.BOOLEAN])
    numbers = [index for index in range(len(columns)) if index not in (*categories, *booleans)]
    codes = [np.arange(len(columns[index]["categories"]), dtype=np.float32) for index in categories]
    median, most_frequent = SimpleImputer(strategy="median"), SimpleImputer(strategy="most_frequent")
    return [
        ("numbers", make_pipeline(median, StandardScaler()) if scaled else median, numbers),
        ("booleans", most_frequent, booleans),
        # A missing category has no column: all columns are 0.
        ("categories", OneHotEncoder(categories=codes, handle_unknown="ignore", sparse_output=False), categories),
        ("missing", MissingIndicator(features="all"), [each for each in _nullable(columns) if each not in categories]),
    ]


def _pipeline(steps: list[tuple[str, Any, list[int]]], estimator: Any) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import make_pipeline

    return make_pipeline(ColumnTransformer([step for step in steps if step[2]]), estimator)


def _indices(columns: Sequence[ColumnSchema], kinds: Sequence[ColumnType]) -> list[int]:
    return [index for index, column in enumerate(columns) if column.get("type", ColumnType.NUMBER) in kinds]


def _nullable(columns: Sequence[ColumnSchema]) -> list[int]:
    return [index for index, column in enumerate(columns) if allows_nan(column)]
