"""Engine `job` in a cluster that ignores requests; tests/cluster has the tests in a working cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiException
from mlplatform.engine_config import JobEngineConfig

from infra.dynamic_provider import UserError
from infra.kubernetes_client import client
from tests.stand_ins import kubeconfig
from workloads.engines.base import RunRequest
from workloads.engines.job import job_engine
from workloads.engines.job.job_engine import JobEngine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobEngine:
    """Return an engine with a Job that never ends."""
    config = JobEngineConfig(kubeconfig("http://127.0.0.1:1"), "n", "i", str(tmp_path))
    engine = JobEngine(config)
    running_job = SimpleNamespace(status=SimpleNamespace(conditions=None))
    monkeypatch.setattr(engine, "_read_job", lambda _: running_job)
    monkeypatch.setattr(engine, "_newest_pod", lambda _: None)
    monkeypatch.setattr(engine, "_require_start", lambda *_: None)
    monkeypatch.setattr(engine.api, "none_if_missing", lambda _: None)
    monkeypatch.setattr(job_engine, "STOP_SECONDS", 0)
    return engine


@pytest.mark.timeout(60)
def test_follow_of_a_run_after_its_timeout_raises(engine: JobEngine) -> None:
    request = RunRequest("p", "p-1", "v", {}, timeout_minutes=0)
    with pytest.raises(
        UserError, match="the run n/p-1 exceeded its timeout of 0 minutes, and the cluster did not stop it"
    ):
        engine._follow("p-1", request)


@pytest.mark.timeout(60)
def test_delete_job_of_a_job_that_stays_raises(engine: JobEngine) -> None:
    with pytest.raises(UserError, match="the Job n/p-1 still exists 0 s after its deletion"):
        engine._delete_job("p-1")


@pytest.mark.parametrize("body", ['{"message": "no such right"}', "<html>no such right</html>"])
def test_client_with_a_rejected_request_raises_the_message_of_the_response(body: str) -> None:
    refused = ApiException(status=403, reason="Forbidden")
    refused.body = body
    with pytest.raises(UserError, match=r"the cluster refuses this: .*no such right"):
        client._transient_reason(refused)
