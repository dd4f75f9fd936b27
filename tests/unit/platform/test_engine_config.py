"""Configurations of engines and of the access to MLflow as inputs of resources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mlplatform.engine_config import (
    EmbeddedEngineConfig,
    EngineConfig,
    JobEngineConfig,
    KubeflowEngineConfig,
    engine_inputs,
    parse_engine_config,
)
from mlplatform.tracking_access import TrackingAccess, parse_tracking_access
from pydantic import ValidationError

from infra.kubernetes_client.port_forward import PodTarget

KUBEFLOW = KubeflowEngineConfig(
    "config", "kubeflow", "app=a", 8888, "app=m", 8080, "dev", False, "/data", "host:3306/p"
)


def pass_through_pulumi(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return inputs as a provider gets them: every number is a float."""
    return dict(json.loads(json.dumps(inputs), parse_int=float))


@pytest.mark.parametrize("config", [EmbeddedEngineConfig("/data"), JobEngineConfig("c", "n", "i", "/data"), KUBEFLOW])
def test_parse_engine_config_of_its_inputs_returns_the_config(config: EngineConfig[str]) -> None:
    parsed = parse_engine_config(pass_through_pulumi(engine_inputs(config)))
    assert parsed == config
    assert {name: type(value) for name, value in vars(parsed).items()} == {
        name: type(value) for name, value in vars(config).items()
    }


def test_parse_engine_config_of_an_unknown_kind_raises() -> None:
    with pytest.raises(ValidationError, match="kind"):
        parse_engine_config({"kind": "other", "directory": "/data"})


@pytest.mark.parametrize(
    "access",
    [
        TrackingAccess("http://host:5000"),
        TrackingAccess("http://host:5000", "admin", "secret"),
        TrackingAccess("http://mlflow.svc:5000", "admin", "secret", PodTarget("config", "n", "app=mlflow", 5000)),
    ],
)
def test_parse_tracking_access_of_its_inputs_returns_the_access(access: TrackingAccess[str]) -> None:
    assert parse_tracking_access(pass_through_pulumi(access.inputs())) == access
