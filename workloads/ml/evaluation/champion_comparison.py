"""Comparison of a new model with the champion, on the same test rows."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from settings.metrics import CLASSIFICATION, REGRESSION
from workloads.ml.data.encoding import Rows
from workloads.ml.data.target import Labels, Values
from workloads.ml.errors import StepError
from workloads.ml.evaluation.predictor import Answers, Predictor
from workloads.ml.evaluation.verdict import CHAMPION_PREFIX, CHANGED_ANSWERS
from workloads.ml.model.model_directory import ONNX_FILE, SIGNATURE_FILE, load_model_directory
from workloads.ml.rest_client import MlflowRest

NOT_FOUND = 404


class NotComparableError(Exception):
    """A champion that cannot predict the test rows of the new model; the message is the reason."""


def fetch_champion(tracking_url: str, model_name: str) -> tuple[str, Predictor] | None:
    """Return the version of the champion and its model; None without a champion.

    Raises:
        NotComparableError: The champion has no files of this program, or its files were changed.
        StepError: MLflow does not respond.
    """
    import requests

    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}", "") for name in ("USERNAME", "PASSWORD"))
    registry = MlflowRest(tracking_url, (user, password) if user else None)
    try:
        champion = registry.champion(model_name)
        if champion is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            for file in (ONNX_FILE, SIGNATURE_FILE):
                (Path(folder) / file).write_bytes(registry.download(champion["source"], file))
            model = load_model_directory(Path(folder))
    except requests.HTTPError as error:
        if error.response.status_code == NOT_FOUND:
            raise NotComparableError(f"it has no files {ONNX_FILE} and {SIGNATURE_FILE}") from None
        raise StepError(f"the champion of {model_name} cannot be read from {tracking_url}: {error}") from None
    except requests.RequestException as error:
        raise StepError(f"the champion of {model_name} cannot be read from {tracking_url}: {error}") from None
    except (StepError, json.JSONDecodeError) as error:
        raise NotComparableError(str(error)) from None
    return str(champion["version"]), Predictor(model)


def compare_with_champion(
    champion: Predictor, new: Predictor, rows: Rows, truth: Labels | Values, answers: Answers
) -> dict[str, float]:
    """Return the champion's metrics, with `CHAMPION_PREFIX`, and the number of answers that change.

    An answer of a classification or an anomaly detection changes if the class does. An answer of a regression changes
    if the number moves by more than the champion's root mean squared error.

    Args:
        champion: The champion.
        new: The new model, which has the features and classes of the test rows.
        rows: The test rows [rows, features].
        truth: Their class indices or numbers.
        answers: The answers of the new model.

    Raises:
        NotComparableError: The models have different tasks, targets or features.
    """
    _require_same_target(champion.signature, new.signature)
    champion_rows = _champion_rows(champion.signature, new.signature, rows)
    found = champion.answer(champion_rows)
    if new.task == REGRESSION:
        metrics = champion.measure(champion_rows, truth, found)
        moved = np.abs(np.asarray(found.values, dtype=np.float64) - np.asarray(answers.values)).max(axis=1)
        changed = moved > metrics["rmse"]
    else:
        if new.task == CLASSIFICATION:
            found = _in_classes_of(new.signature["classes"], champion.signature["classes"], found)
        metrics = champion.measure(champion_rows, truth, found)
        changed = np.asarray(found.values != answers.values)
    champion_metrics = {CHAMPION_PREFIX + name: value for name, value in metrics.items()}
    return {**champion_metrics, CHANGED_ANSWERS: float(changed.sum())}


def _require_same_target(old: Any, new: Any) -> None:
    for key, absent in (("task", "classification"), ("targets", None), ("unit", "")):
        theirs, ours = (
            signature.get(key, absent) or ([signature["target"]] if key == "targets" else absent)
            for signature in (old, new)
        )
        if theirs != ours:
            raise NotComparableError(f"its {key} is {theirs}, the new model's is {ours}")


def _champion_rows(old: Any, new: Any, rows: Rows) -> Rows:
    """Return the test rows in the order and encoding of the champion's features."""
    known = {feature["name"]: (index, feature) for index, feature in enumerate(new["features"])}
    if missing := [feature["name"] for feature in old["features"] if feature["name"] not in known]:
        raise NotComparableError(f"it needs the features {', '.join(missing)}, which the test rows lack")
    columns = []
    for feature in old["features"]:
        index, described = known[feature["name"]]
        columns.append(_champion_column(feature, described, rows[:, index]))
    return np.column_stack(columns).astype(np.float32)


def _champion_column(old: Any, new: Any, column: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the values of a feature in the champion's encoding."""
    name = old["name"]
    if ("categories" in old) != ("categories" in new):
        raise NotComparableError(
            f"its feature {name} is of type {old.get('type')}, the test rows have {new.get('type')}"
        )
    if "categories" in old and old["categories"] != new["categories"]:
        position = {category: index for index, category in enumerate(old["categories"])}
        codes = np.array([position.get(category, np.nan) for category in new["categories"]], dtype=np.float32)
        present = ~np.isnan(column)
        column = column.copy()
        column[present] = codes[column[present].astype(np.int64)]
    if np.isnan(column).any() and not (old.get("missing") or old.get("unknown")):
        raise NotComparableError(
            f"its feature {name} allows no missing value or new category, which the test rows have"
        )
    return column


def _in_classes_of(classes: list[str], theirs: list[str], answers: Answers) -> Answers:
    """Return the champion's answers as indices into `classes`; -1 is a class that the new model does not have.

    Earlier versions named the class 1 of a column of floats `1.0`.
    """
    position = {name: index for index, name in enumerate(classes)}
    codes = np.array([position.get(name, position.get(name.removesuffix(".0"), -1)) for name in theirs], dtype=np.int64)
    probabilities = np.zeros((len(answers.values), len(classes)), dtype=np.float32)
    shared = codes >= 0
    probabilities[:, codes[shared]] = answers.probabilities[:, shared]
    return Answers(codes[np.asarray(answers.values, dtype=np.int64)], probabilities)
