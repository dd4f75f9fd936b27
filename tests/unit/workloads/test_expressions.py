"""Conditions and selectors of packages, and the values of parameters."""

from __future__ import annotations

from typing import Any

import pytest

from workloads.engines.dag.expressions import ExpressionError, parse_condition, select
from workloads.engines.dag.parameter_values import ParameterError, fill_placeholders, typed

A = "inputs.parameter_values['a']"


@pytest.mark.parametrize(
    ("condition", "value", "expected"),
    [
        (f"{A} == 'yes'", "yes", True),
        (f"{A} != 'yes'", "yes", False),
        (f"int({A}) > 3", 3, False),
        (f"double(int({A})) >= 2.5", 3, True),
        (f"{A} < -1.5e-3", -0.5, True),
        (f"{A} == true", False, False),
        (f"!({A} == 'x') && {A} == 'y'", "y", True),
        (f"!({A} == 'x') && !({A} == 'y')", "y", False),
        (f"{A} == ' a && b '", " a && b ", True),
    ],
)
def test_condition_is_evaluated_for_the_inputs_of_a_task(condition: str, value: Any, expected: bool) -> None:
    assert parse_condition(condition)({"a": value}) is expected


@pytest.mark.parametrize(
    "condition", [f"{A} == 'it's'", f"{A} == 'a\\b'", f"'{A}' == '3'", f"{A}", f"{A} == 1 || true", "1 == 1)", ""]
)
def test_condition_that_is_malformed_is_refused(condition: str) -> None:
    with pytest.raises(ExpressionError, match=r"cannot be evaluated; compare values of the same type"):
        parse_condition(condition)


@pytest.mark.parametrize(("condition", "value"), [(f"{A} == 1", True), (f"{A} == '1'", 1), (f"{A} == 'x'", None)])
def test_condition_with_values_of_two_types_is_refused(condition: str, value: Any) -> None:
    with pytest.raises(ExpressionError, match=r"which has another type$"):
        parse_condition(condition)({"a": value})


@pytest.mark.parametrize("value", [{"a": {"b": 3}}, '{"a": {"b": 3}}'])
def test_select_returns_a_field_of_a_mapping_or_its_text(value: Any) -> None:
    assert select(value, 'parseJson(string_value)["a"]["b"]') == 3


@pytest.mark.parametrize("value", [{"b": 1}, "no JSON", [1], None])
def test_select_of_a_missing_field_names_it(value: Any) -> None:
    with pytest.raises(ExpressionError, match=r'has no field \["a"\]$'):
        select(value, 'parseJson(string_value)["a"]')


@pytest.mark.parametrize(
    ("parameter_type", "value", "expected"),
    [
        ("STRING", 3.0, "3"),
        ("STRING", True, "true"),
        ("STRING", ["ü", 1.0], '["ü", 1]'),
        ("NUMBER_INTEGER", 3.0, 3),
        ("NUMBER_DOUBLE", 0.5, 0.5),
        ("LIST", [1.0, {"a": 2.5}], [1, {"a": 2.5}]),
        ("STRUCT", {"a": [1.0]}, {"a": [1]}),
    ],
)
def test_typed_returns_the_value_as_kubeflow_pipelines_passes_it(
    parameter_type: str, value: Any, expected: Any
) -> None:
    assert repr(typed("a", value, parameter_type)) == repr(expected)


@pytest.mark.parametrize(
    ("parameter_type", "value", "error"),
    [
        ("NUMBER_INTEGER", "3", "a is '3', but must be of the type NUMBER_INTEGER"),
        ("NUMBER_INTEGER", 3.5, "a is 3.5, but must be a whole number"),
        ("NUMBER_INTEGER", True, "a is True, but must be of the type NUMBER_INTEGER"),
        ("BOOLEAN", 1, "a is 1, but must be of the type BOOLEAN"),
        ("LIST", "[]", r"a is '\[\]', but must be of the type LIST"),
        ("STRUCT", {"x": [float("nan")]}, r"a\.x\[0\] is nan, which no parameter"),
        ("NUMBER_INTEGER", 2**53 + 1, r"a is 9007199254740993, and parameters .* up to 2\^53 only"),
    ],
)
def test_typed_with_another_type_names_the_value(parameter_type: str, value: Any, error: str) -> None:
    with pytest.raises(ParameterError, match=f"^{error}"):
        typed("a", value, parameter_type)


def test_fill_placeholders_does_not_read_placeholders_in_values() -> None:
    value = {"text": ["{{$.pipeline_job_name}}: {{$.inputs.parameters['a']}}"]}
    filled = fill_placeholders(value, {"{{$.pipeline_job_name}}": "run"}, {"a": "{{$.inputs.parameters['a']}}"})
    assert filled == {"text": ["run: {{$.inputs.parameters['a']}}"]}
