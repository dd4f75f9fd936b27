"""From a trained classifier to a model directory that can be registered and served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workloads.ml.data.encoding import ColumnSchema, Rows, allows_nan
from workloads.ml.data.table import TableDescription
from workloads.ml.errors import StepError
from workloads.ml.model.export_check import check_export
from workloads.ml.model.model_directory import build_signature, save_model_directory
from workloads.ml.model.onnx_export import classifier_to_onnx, forest_to_onnx


def save_classifier(classifier: Any, rows: Rows, description: TableDescription, folder: Path, model_name: str) -> None:
    """Export a trained classifier, compare the exported model with it, and write the model directory.

    Args:
        classifier: A classifier or scikit-learn pipeline, fitted on rows and class indices of `load_table`.
        rows: The training rows [rows, features].
        description: The description of the training data, from `load_description`.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.

    Raises:
        StepError: The classifier has no probabilities, cannot be exported, or the exported model predicts otherwise.
    """
    onnx = export_classifier(classifier, rows, description["columns"])
    save_model_directory(folder, onnx, build_signature(model_name, onnx, rows, description))


def export_classifier(classifier: Any, rows: Rows, columns: Sequence[ColumnSchema] = ()) -> bytes:
    """Return the ONNX model of a trained classifier after comparing it with the classifier.

    Raises:
        StepError: The classifier has no probabilities, cannot be exported, or the exported model predicts otherwise.
    """
    from sklearn.base import is_classifier
    from sklearn.ensemble import RandomForestClassifier

    name = name_of(classifier)
    if not is_classifier(classifier):
        raise StepError(
            f"{name} cannot be served: it is not a classifier; use one, such as RandomForestClassifier, "
            "or predict a number with `task: regression`"
        )
    if not hasattr(classifier, "predict_proba"):
        raise StepError(
            f"{name} cannot be served: it has no predict_proba, and the model server returns probabilities; "
            f"use a classifier that has it, or CalibratedClassifierCV({name}(...))"
        )
    if list(classifier.classes_) != list(range(len(classifier.classes_))):
        raise StepError(f"{name} cannot be served: fit it on the class indices 0, 1, 2, ... that load_table returns")
    missing = any(allows_nan(column) for column in columns)
    to_onnx = forest_to_onnx if type(classifier) is RandomForestClassifier else classifier_to_onnx
    try:
        onnx = to_onnx(classifier, missing=missing)
        check_export(name, classifier, onnx, np.asarray(rows, dtype=np.float32), columns)
    except StepError:
        raise
    except Exception as error:  # the converter and ONNX Runtime have no common base class of errors
        raise not_exported(name, error, "classifier") from error
    return onnx


def name_of(estimator: Any) -> str:
    """Return the name of an estimator, or of the last step of a scikit-learn pipeline."""
    return type(getattr(estimator, "steps", [("", estimator)])[-1][1]).__name__


def not_exported(name: str, error: Exception, kind: str) -> StepError:
    """Return the error of an estimator that the converter or ONNX Runtime refuses."""
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    if "shape calculator" in reason:
        reason = "no converter exists for it"
    return StepError(f"{name} cannot be exported to ONNX: {reason}; use another {kind}")
