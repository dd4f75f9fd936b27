"""What a pipeline is called with: parameters of the settings, as Pulumi hands them over, of the types that it has."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from infra.dynamic_provider import UserError
from workloads.runs.resources import _arguments

SETTING = "workloads:pipelines.some.parameters"


def arguments(kind: str, value: Any) -> Any:
    """What a parameter `p` of that type gets."""
    package = yaml.safe_dump({"root": {"inputDefinitions": {"parameters": {"p": {"parameterType": kind}}}}})
    props = {"pipeline": "some", "package": package, "platform": {}, "parameters": {"p": value}}
    return _arguments(props)["p"]


@pytest.mark.parametrize(
    ("kind", "handed_over", "wanted"),
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
def test_numbers_are_those_that_the_settings_have(kind: str, handed_over: Any, wanted: Any) -> None:
    found = arguments(kind, handed_over)
    assert repr(found) == repr(wanted)


@pytest.mark.parametrize(("kind", "value"), [("NUMBER_INTEGER", 5.5), ("NUMBER_DOUBLE", "high"), ("BOOLEAN", "maybe")])
def test_what_is_of_another_type_is_refused_by_its_setting(kind: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"^{SETTING}\.p: .* is not of the pipeline's type for it, {kind}$"):
        arguments(kind, value)
