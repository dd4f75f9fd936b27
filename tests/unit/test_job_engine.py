"""The engine `job` where a cluster does not do what it was asked for; that it does is seen in tests/cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiException

from infra.dynamic_provider import UserError
from infra.kubernetes_client import client
from tests.stand_ins import kubeconfig
from workloads.engines.base import RunRequest
from workloads.engines.job import job_engine
from workloads.engines.job.job_engine import JobEngine


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobEngine:
    """One in whose cluster there is a Job that goes on for ever."""
    properties = {
        "kubeconfig": kubeconfig("http://127.0.0.1:1"),
        "namespace": "n",
        "image": "i",
        "directory": str(tmp_path),
    }
    made = JobEngine(properties)
    forever = SimpleNamespace(status=SimpleNamespace(conditions=None))
    monkeypatch.setattr(made, "_job", lambda _: forever)
    monkeypatch.setattr(made, "_newest_pod", lambda _: None)
    monkeypatch.setattr(made, "_require_moving", lambda *_: None)
    monkeypatch.setattr(made.api, "none_if_missing", lambda _: None)
    monkeypatch.setattr(job_engine, "ENDING_SECONDS", 0)
    return made


@pytest.mark.timeout(60)
def test_a_run_that_the_cluster_does_not_end_is_followed_no_longer(engine: JobEngine) -> None:
    request = RunRequest("p", "p-1", "v", {}, timeout_minutes=0)
    with pytest.raises(
        UserError, match="the run n/p-1 has taken more than 0 minutes, and the cluster has not ended it"
    ):
        engine._followed("p-1", request)


@pytest.mark.timeout(60)
def test_a_job_that_does_not_go_is_waited_for_no_longer(engine: JobEngine) -> None:
    with pytest.raises(UserError, match="the Job n/p-1 was deleted, and is there"):
        engine._delete("p-1")


@pytest.mark.parametrize("body", ['{"message": "no such right"}', "<html>no such right</html>"])
def test_who_is_refused_is_told_what_was_said_whoever_said_it(body: str) -> None:
    refused = ApiException(status=403, reason="Forbidden")
    refused.body = body
    with pytest.raises(UserError, match=r"the cluster refuses this: .*no such right"):
        client._transient_reason(refused)
