"""From a trained regressor to a model directory that can be registered and served."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from workloads.ml.data.encoding import ColumnSchema, Rows, allows_nan
from workloads.ml.data.table import TableDescription
from workloads.ml.errors import StepError
from workloads.ml.model.classifier import name_of, not_exported
from workloads.ml.model.export_check import check_values
from workloads.ml.model.model_directory import build_signature, save_model_directory
from workloads.ml.model.onnx_export import regressor_to_onnx


def save_regressor(regressor: Any, rows: Rows, description: TableDescription, folder: Path, model_name: str) -> None:
    """Export a trained regressor, compare the exported model with it, and write the model directory.

    Args:
        regressor: A regressor or scikit-learn pipeline, fitted on rows and numbers of `load_table`.
        rows: The training rows [rows, features].
        description: The description of the training data, from `load_description`.
        folder: The model directory, created if necessary.
        model_name: Name of the model in its signature.

    Raises:
        StepError: The regressor cannot be exported, or the exported model predicts otherwise.
    """
    onnx = export_regressor(regressor, rows, description["scales"], description["columns"])
    save_model_directory(folder, onnx, build_signature(model_name, onnx, rows, description))


def export_regressor(
    regressor: Any, rows: Rows, scales: Sequence[float], columns: Sequence[ColumnSchema] = ()
) -> bytes:
    """Return the ONNX model of a trained regressor after comparing it with the regressor.

    Args:
        regressor: The trained regressor.
        rows: The training rows [rows, features].
        scales: Standard deviation of each target.
        columns: Schema of the features; empty if all are numbers that are never missing.

    Raises:
        StepError: The regressor cannot be exported, or the exported model predicts otherwise.
    """
    from sklearn.base import is_regressor

    name = name_of(regressor)
    if not is_regressor(regressor):
        raise StepError(
            f"{name} cannot predict a number: it is not a regressor; use one, such as RandomForestRegressor"
        )
    try:
        onnx = regressor_to_onnx(regressor, len(scales), missing=any(allows_nan(column) for column in columns))
        check_values(name, regressor, onnx, np.asarray(rows, dtype=np.float32), scales, columns)
    except StepError:
        raise
    except Exception as error:  # the converter and ONNX Runtime have no common base class of errors
        raise not_exported(name, error, "regressor") from error
    return onnx
