"""Settings of replicated stores: refused where they could not keep their promise."""

from __future__ import annotations

import pytest

from settings.errors import SettingsError
from settings.loading import load_settings

REPLICATED = {"platform:stores": "replicated"}


@pytest.mark.parametrize(
    ("stack", "overrides", "expected"),
    [
        ("dev", {}, "platform:stores: replicated needs a cluster, and infra:cluster is none; set single"),
        (
            "lab",
            {"infra:lab": '{"size": 2}'},
            "platform:stores: replicated needs 3 machines, and the settings have 2; add machines, or set single",
        ),
        (
            "lab",
            {"platform:tracking": '{"database_url": "postgresql://me:word@db.example.com/mlflow"}'},
            "remove database_url and artifacts, or set platform:stores: single",
        ),
        ("lab", {"platform:stores": "many"}, "'single' or 'replicated'"),
    ],
)
def test_load_with_replicated_stores_that_cannot_be_names_the_remedy(
    stack: str, overrides: dict[str, str], expected: str
) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(stack, REPLICATED | overrides)
    assert expected in str(error.value)


@pytest.mark.parametrize("stack", ["lab", "onprem", "azure"])
def test_load_takes_replicated_stores_only_if_the_settings_say_so(stack: str) -> None:
    assert load_settings(stack, {"platform:stores": "single"}).platform.stores == "single"
    assert load_settings(stack, {}).platform.stores == "single"
    assert load_settings(stack, REPLICATED).platform.stores == "replicated"
