"""From a trained outlier detector to a model directory that can be registered and served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workloads.ml.data.encoding import ColumnSchema, Rows
from workloads.ml.data.table import TableDescription
from workloads.ml.errors import StepError
from workloads.ml.model.classifier import name_of, not_exported
from workloads.ml.model.export_check import check_scores
from workloads.ml.model.model_directory import build_signature, save_model_directory
from workloads.ml.model.onnx_export import detector_to_onnx


def save_detector(detector: Any, rows: Rows, description: TableDescription, folder: Path, model_name: str) -> None:
    """Export a trained detector, compare the exported model with it, and write the model directory.

    Args:
        detector: An outlier detector or scikit-learn pipeline, fitted on normal rows of `load_table`.
        rows: These rows [rows, features].
        description: The description of the training data, from `load_description`.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.

    Raises:
        StepError: The detector has no scores, cannot be exported, or the exported model predicts otherwise.
    """
    onnx = export_detector(detector, rows, description["columns"])
    save_model_directory(folder, onnx, build_signature(model_name, onnx, rows, description))


def export_detector(detector: Any, rows: Rows, columns: Sequence[ColumnSchema] = ()) -> bytes:
    """Return the ONNX model of a trained detector after comparing it with the detector.

    Raises:
        StepError: The detector has no scores, cannot be exported, or the exported model predicts otherwise.
    """
    name = name_of(detector)
    if not hasattr(detector, "decision_function"):
        raise StepError(f"{name} cannot be served: it has no decision_function; use one, such as IsolationForest")
    try:
        onnx = detector_to_onnx(detector)
        check_scores(name, detector, onnx, np.asarray(rows, dtype=np.float32), columns)
    except StepError:
        raise
    except Exception as error:  # the converter and ONNX Runtime have no common base class of errors
        raise not_exported(name, error, "detector") from error
    return onnx
