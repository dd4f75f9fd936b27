"""Arguments of a pipeline from parameters of the settings, as Pulumi passes them."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from pulumi.output import UNKNOWN

from infra.dynamic_provider import UserError
from workloads.runs.arguments import resolve_arguments
from workloads.runs.gate_parameters import gate_parameters, require_gate_parameter

SETTING = "workloads:pipelines.some.parameters"


def arguments(kind: str, value: Any) -> Any:
    """Return the argument for a parameter `p` of that type."""
    return resolve_arguments("some", {"p": {"parameterType": kind}}, {"p": value}, {})["p"]


@pytest.mark.parametrize(
    ("kind", "passed", "expected"),
    [
        ("STRING", 5.0, "5"),
        ("STRING", 0.5, "0.5"),
        ("STRING", "5.0", "5.0"),
        ("NUMBER_INTEGER", 5.0, 5),
        ("NUMBER_INTEGER", "5", 5),
        ("NUMBER_DOUBLE", 5.0, 5.0),
        ("BOOLEAN", True, True),
        ("LIST", [1.0, 2.5, [3.0]], [1, 2.5, [3]]),
        ("STRUCT", {"depth": 6.0, "name": "x"}, {"depth": 6, "name": "x"}),
    ],
)
def test_resolve_arguments_with_a_number_keeps_its_text(kind: str, passed: Any, expected: Any) -> None:
    assert repr(arguments(kind, passed)) == repr(expected)


def test_resolve_arguments_with_an_unknown_value_of_the_platform_keeps_it() -> None:
    unknown = UNKNOWN
    declared = {"p": {"parameterType": "STRING"}}
    assert resolve_arguments("some", declared, {}, {"p": unknown}) == {"p": unknown}


@pytest.mark.parametrize(("kind", "value"), [("NUMBER_INTEGER", 5.5), ("NUMBER_DOUBLE", "high"), ("BOOLEAN", "maybe")])
def test_resolve_arguments_with_a_wrong_type_names_the_setting(kind: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^{SETTING}\.p: .* is not of the pipeline's type for it, {kind}$"):
        arguments(kind, value)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([{"metric": "accuracy", "above": 0.8}], {"baseline": 0.8}),
        ([{"metric": "accuracy", "above": 0.8, "better_than_champion": True}], {}),
        ([{"metric": "f1", "above": 0.8}], {}),
        ([{"metric": "accuracy", "above": 0.8}, {"metric": "f1", "above": 0.8}], {}),
    ],
)
def test_gate_parameters_have_the_baseline_of_a_plain_accuracy_only(
    conditions: list[dict[str, Any]], expected: dict[str, float]
) -> None:
    assert gate_parameters(conditions) == {"gate": conditions} | expected


def test_require_gate_parameter_of_a_pipeline_without_one_names_the_setting() -> None:
    require_gate_parameter("wine", {"gate": {}})
    require_gate_parameter("wine", {"baseline": {}})
    with pytest.raises(pulumi.RunError, match=r"^workloads:pipelines\.wine\.gate: nothing applies this gate: .*serve"):
        require_gate_parameter("wine", {"data_url": {}})


@pytest.mark.parametrize("value", [float("nan"), "inf", "-Infinity"])
def test_resolve_arguments_with_a_number_that_json_lacks_names_the_setting(value: Any) -> None:
    with pytest.raises(UserError, match=rf"^{SETTING}\.p is -?(nan|inf), which no parameter"):
        arguments("NUMBER_DOUBLE", value)


def test_resolve_arguments_with_a_whole_number_that_would_be_rounded_names_the_setting() -> None:
    assert arguments("NUMBER_INTEGER", str(2**53)) == 2**53
    with pytest.raises(UserError, match=rf"^{SETTING}\.p is 9007199254740993, and parameters .* up to 2\^53 only"):
        arguments("NUMBER_INTEGER", str(2**53 + 1))
    assert arguments("STRING", str(2**53 + 1)) == "9007199254740993"


def test_resolve_arguments_with_a_nested_infinity_names_its_place() -> None:
    with pytest.raises(UserError, match=rf"^{SETTING}\.p\[1\]\.x is inf, which no parameter"):
        arguments("LIST", [1.0, {"x": float("inf")}])


def test_resolve_arguments_with_null_leaves_an_optional_parameter_out() -> None:
    declared = {"p": {"parameterType": "STRING", "isOptional": True}}
    assert resolve_arguments("some", declared, {"p": None}, {}) == {}
    with pytest.raises(UserError, match="p must be set: the pipeline has no default for it"):
        resolve_arguments("some", {"p": {"parameterType": "STRING"}}, {"p": None}, {})


@pytest.mark.parametrize("setting", ["columns", "tune"])
def test_resolve_arguments_with_a_setting_that_the_pipeline_does_not_take_names_it(setting: str) -> None:
    message = rf"^workloads:pipelines\.some\.{setting}: the pipeline has no parameter {setting}; it has: p$"
    with pytest.raises(UserError, match=message):
        resolve_arguments("some", {"p": {"parameterType": "STRING"}}, {setting: {}}, {})
