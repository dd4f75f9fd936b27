"""Arguments of a pipeline from parameters of the settings, as Pulumi passes them."""

from __future__ import annotations

from typing import Any

import pytest

from infra.dynamic_provider import UserError
from workloads.runs.arguments import resolve_arguments

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


@pytest.mark.parametrize(("kind", "value"), [("NUMBER_INTEGER", 5.5), ("NUMBER_DOUBLE", "high"), ("BOOLEAN", "maybe")])
def test_resolve_arguments_with_a_wrong_type_names_the_setting(kind: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^{SETTING}\.p: .* is not of the pipeline's type for it, {kind}$"):
        arguments(kind, value)
