"""Table of all estimators: `python -m tools.ci.estimator_table > docs/reference/estimators.md`, one to three minutes.

Each estimator of scikit-learn, XGBoost and LightGBM is trained on a small table and exported. The table says which
exports are exact, and why others are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

import workloads.ml  # noqa: F401  before the libraries whose usage reports it disables
from workloads.ml.data.columns import ColumnType
from workloads.ml.data.encoding import ColumnSchema, Rows
from workloads.ml.data.target import Labels, Task, Values
from workloads.ml.errors import StepError
from workloads.ml.model.classifier import export_classifier
from workloads.ml.model.detector import export_detector
from workloads.ml.model.regressor import export_regressor
from workloads.ml.training.estimators import BOOSTERS, build_estimator, fit_estimator
from workloads.ml.training.preparation import prepare

ROWS = 120
SEED = 0
NUMBERS = [ColumnSchema(name=name, type=str(ColumnType.NUMBER)) for name in ("a", "b", "c")]
MIXED = [
    ColumnSchema(name="a", type=str(ColumnType.NUMBER), missing=True),
    ColumnSchema(name="b", type=str(ColumnType.BOOLEAN)),
    ColumnSchema(name="c", type=str(ColumnType.CATEGORY), categories=["x", "y", "z"], missing=True),
]
LOGISTIC, RIDGE = "LogisticRegression", "Ridge"
PARAMETERS: dict[str, dict[str, Any]] = {
    "ClassifierChain": {"estimator": LOGISTIC},
    "FixedThresholdClassifier": {"estimator": LOGISTIC},
    "MultiOutputClassifier": {"estimator": LOGISTIC},
    "MultiOutputRegressor": {"estimator": RIDGE},
    "OneVsOneClassifier": {"estimator": LOGISTIC},
    "OneVsRestClassifier": {"estimator": LOGISTIC},
    "OutputCodeClassifier": {"estimator": LOGISTIC},
    "RadiusNeighborsClassifier": {"radius": 50},
    "RadiusNeighborsRegressor": {"radius": 50},
    "RegressorChain": {"estimator": RIDGE},
    "SelfTrainingClassifier": {"estimator": LOGISTIC},
    "StackingClassifier": {"estimators": [LOGISTIC, "DecisionTreeClassifier"]},
    "StackingRegressor": {"estimators": [RIDGE, "DecisionTreeRegressor"]},
    "TunedThresholdClassifierCV": {"estimator": LOGISTIC},
    "VotingClassifier": {
        "estimators": [LOGISTIC, "DecisionTreeClassifier"],
        "voting": "soft",
        "flatten_transform": False,
    },
    "VotingRegressor": {"estimators": [RIDGE, "DecisionTreeRegressor"]},
}
"""Parameters of estimators that need some."""
TWO_TARGETS = ("CCA", "PLSCanonical", "RegressorChain")
"""Beginnings of the names of regressors that need two targets; so do those named Multi."""
HEADER = """# Estimators

`train_model` takes any of these names as `estimator`, and arguments of the class as `parameters`. Each
was trained on {rows} rows and exported with the default parameters, or with those in brackets. *Exact*
means that the exported model predicts as the trained one, on training rows and near decision
boundaries: labels, and probabilities up to 1e-4, or numbers up to 1e-4 standard deviations. Everything
else is refused before it is registered. The check runs again on your data, with your parameters.

`numbers` is a table of three numbers, `mixed` one of a number, a boolean and a category with missing
values. Classifiers learn three classes, or two if they refuse three; regressors learn one number, or
two if they need two; detectors of anomalies learn the rows alone.
`python -m tools.ci.estimator_table` writes this page.
"""


def main() -> None:
    """Print the page."""
    warnings.simplefilter("ignore")
    print(HEADER.format(rows=ROWS))
    for task in Task:
        print(f"\n## {str(task).capitalize()}\n\n| estimator | numbers | mixed |\n|---|---|---|")
        for name in names(task):
            verdicts = [verdict(name, task, columns) for columns in (NUMBERS, MIXED)]
            print(f"| `{name}`{_given(PARAMETERS.get(name, {}))} | {' | '.join(verdicts)} |", flush=True)


def names(task: Task) -> list[str]:
    """Return the names of all estimators for a task."""
    from sklearn.base import OutlierMixin
    from sklearn.utils import all_estimators

    if task is Task.ANOMALY:
        return sorted(name for name, found in all_estimators() if issubclass(found, OutlierMixin))
    kind = "classifier" if task is Task.CLASSIFICATION else "regressor"
    boosters = [name for names in BOOSTERS.values() for name in names if name.endswith(kind.capitalize())]
    return sorted([name for name, _ in all_estimators(type_filter=kind)] + boosters)


def verdict(name: str, task: Task, columns: list[ColumnSchema]) -> str:
    """Return `exact`, or `refused: ` and the reason."""
    rows, labels = table(task, columns)
    if name.startswith(("Multi", *TWO_TARGETS)) and task is Task.REGRESSION:
        labels = np.column_stack([labels, rows[:, 1] + labels / 2]).astype(np.float64)
    try:
        _export(name, task, columns, rows, labels)
    except StepError as three_classes:
        if task is Task.CLASSIFICATION:
            with suppress(StepError):
                _export(name, task, columns, rows, (labels > 0).astype(np.int64))
                return "exact for two classes"
        reason = str(three_classes).removeprefix("estimator: ").removeprefix(f"{name} ").partition("; ")[0]
        return "refused: " + reason.replace("|", "\\|")
    return "exact"


def _export(name: str, task: Task, columns: list[ColumnSchema], rows: Rows, labels: Labels | Values) -> None:
    estimator = build_estimator(name, PARAMETERS.get(name, {}), task, SEED)
    fitted = fit_estimator(name, prepare(estimator, columns)[0], rows, None if task is Task.ANOMALY else labels)
    if task is Task.ANOMALY:
        export_detector(fitted, rows, columns)
    elif task is Task.CLASSIFICATION:
        export_classifier(fitted, rows, columns)
    else:
        export_regressor(fitted, rows, np.atleast_1d(labels.std(axis=0)).tolist(), columns)


def table(task: Task, columns: list[ColumnSchema]) -> tuple[Rows, Labels | Values]:
    """Return encoded rows [rows, features] and three classes, or numbers to predict."""
    random = np.random.default_rng(SEED)
    rows = random.normal(10, 2, (ROWS, 3)).astype(np.float32)
    for index, column in enumerate(columns):
        if column["type"] != ColumnType.NUMBER:
            rows[:, index] = random.integers(0, 3 if "categories" in column else 2, ROWS)
    values = (rows * [1, 2, 3]).sum(axis=1) + random.normal(size=ROWS)
    for index, column in enumerate(columns):
        if column.get("missing"):
            rows[random.random(ROWS) < 0.1, index] = np.nan
    if task is Task.REGRESSION:
        return rows, values
    return rows, np.searchsorted(np.quantile(values, [0.33, 0.66]), values).astype(np.int64)


def _given(parameters: Mapping[str, Any]) -> str:
    return f" ({', '.join(f'{key}: {value}' for key, value in parameters.items())})" if parameters else ""


if __name__ == "__main__":
    main()
