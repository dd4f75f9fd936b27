"""Settings of replicated stores: refused where they could not keep their promise."""

from __future__ import annotations

import pytest

from settings.errors import SettingsError
from settings.loading import load_settings
from settings.store_rules import has_replicated_stores

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


@pytest.mark.parametrize(
    ("stack", "overrides", "replicated"),
    [
        ("onprem", {}, True),
        ("azure", {}, True),
        ("azure", {"infra:azure": '{"operator": "192.0.2.1", "storage": "datasets", "workers": 1}'}, False),
        ("onprem", {"platform:stores": "single"}, False),
        ("onprem", {"platform:tracking": '{"database_url": "postgresql://me:word@db.example.com/mlflow"}'}, False),
        ("managed", {}, False),
        ("lab", {}, False),
        ("lab", REPLICATED, True),
        ("dev", {}, False),
    ],
)
def test_load_without_stores_replicates_them_on_three_machines(
    stack: str, overrides: dict[str, str], replicated: bool
) -> None:
    settings = load_settings(stack, overrides)
    assert has_replicated_stores(settings.infra, settings.platform) == replicated
