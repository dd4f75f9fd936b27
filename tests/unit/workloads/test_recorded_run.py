"""A run whose result MLflow does not record."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from mlplatform.tracking_access import TrackingAccess

from infra.errors import UserError
from infra.local.free_ports import free_ports
from workloads.engines.base import Engine, RunRequest, RunResult, RunState
from workloads.runs.recorded_run import run_and_record


def test_run_that_mlflow_does_not_record_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = RunResult(RunState.SUCCEEDED, {"accuracy": 0.9}, [], "/run.log")
    engine: Any = SimpleNamespace(run=lambda _request: result)
    request = RunRequest("iris", "iris-1", "iris-v1", {})
    (port,) = free_ports(1)
    with pytest.raises(UserError, match="MLflow did not record the run iris-1 of pipeline iris: API request to"):
        run_and_record(cast(Engine, engine), request, TrackingAccess(f"http://127.0.0.1:{port}"), {}, {})
