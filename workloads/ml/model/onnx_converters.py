"""Converters to ONNX that skl2onnx lacks: missing indicators, XGBoost and LightGBM."""

from __future__ import annotations

from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.impute import MissingIndicator

BOOSTERS = ("xgboost", "lightgbm")
CLASSIFIER_OPTIONS = {"nocl": [True, False], "zipmap": [True, False, "columns"]}


def register_converters(module: str) -> None:
    """Register the converters that an estimator of the module needs.

    Args:
        module: Name of the module that defines the estimator.
    """
    from onnx import TensorProto

    def shape(operator: Any) -> None:
        operator.outputs[0].type = FloatTensorType([None, len(operator.raw_operator.features_)])

    def convert(scope: Any, operator: Any, container: Any) -> None:
        names = [scope.get_unique_variable_name(name) for name in ("columns", "selected", "missing")]
        columns = [int(column) for column in operator.raw_operator.features_]
        container.add_initializer(names[0], TensorProto.INT64, [len(columns)], columns)
        container.add_node("Gather", [operator.inputs[0].full_name, names[0]], [names[1]], axis=1, op_version=13)
        container.add_node("IsNaN", [names[1]], [names[2]], op_version=20)
        output = operator.outputs[0].full_name
        container.add_node("Cast", [names[2]], [output], to=TensorProto.FLOAT, op_version=19)

    update_registered_converter(MissingIndicator, "MissingIndicator", shape, convert)
    library = module.partition(".")[0]
    if library == "xgboost":
        _register_xgboost()
    elif library == "lightgbm":
        _register_lightgbm()


def _register_xgboost() -> None:
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

    for classifier in (XGBClassifier, XGBRFClassifier):
        _register_classifier(classifier, convert_xgboost)
    for regressor in (XGBRegressor, XGBRFRegressor):
        _register_regressor(regressor, convert_xgboost)


def _register_lightgbm() -> None:
    from lightgbm import LGBMClassifier, LGBMRegressor
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    _register_classifier(LGBMClassifier, convert_lightgbm)
    _register_regressor(LGBMRegressor, convert_lightgbm)


def _register_classifier(kind: type, convert: Any) -> None:
    update_registered_converter(
        kind, kind.__name__, calculate_linear_classifier_output_shapes, convert, options=CLASSIFIER_OPTIONS
    )


def _register_regressor(kind: type, convert: Any) -> None:
    update_registered_converter(kind, kind.__name__, calculate_linear_regressor_output_shapes, convert)
