"""Engine `job` in a cluster that ignores requests; tests/cluster has the tests in a working cluster."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiException
from mlplatform.engine_config import JobEngineConfig

from infra.dynamic_provider import UserError
from infra.kubernetes_client import client
from infra.kubernetes_client.pod_logs import PodLog
from tests.stand_ins import kubeconfig
from workloads.engines.base import RunRequest
from workloads.engines.job import job_engine, loop_jobs
from workloads.engines.job.job_engine import JobEngine
from workloads.engines.job.job_manifests import PIPELINE, RUN_ID, dask_manifest, job_manifest
from workloads.engines.job.loop_jobs import LoopJobs
from workloads.engines.job.pod_follower import PodFollower
from workloads.engines.pod_dask import DaskPods
from workloads.engines.pod_entrypoint import encode_result
from workloads.engines.pod_loops import LoopPods
from workloads.engines.step_progress import StepProgress


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


def test_run_with_long_arguments_is_refused_before_its_job_is_created(
    engine: JobEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_read_job", lambda _: None)
    request = RunRequest("p", "p-1", "v", {"target": "price", "texts": ["x" * 200] * 700})
    with pytest.raises(UserError, match=r"^the run p-1 has .* input is texts, with 142,800 bytes: write"):
        engine.run(request)


@pytest.mark.timeout(60)
def test_delete_job_of_a_job_that_stays_raises(engine: JobEngine) -> None:
    with pytest.raises(UserError, match="the Job n/p-1 still exists 0 s after its deletion"):
        engine._delete_job("p-1")


def _job(name: str, condition: str = "") -> SimpleNamespace:
    conditions = [SimpleNamespace(type=condition, status="True", reason="", message="")] if condition else None
    metadata = SimpleNamespace(name=name, annotations={RUN_ID: f"run-of-{name}"})
    return SimpleNamespace(metadata=metadata, status=SimpleNamespace(conditions=conditions), spec=SimpleNamespace())


def test_unfinished_jobs_of_the_pipeline_with_other_parameters_are_deleted(
    engine: JobEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [_job("p-own"), _job("p-other"), _job("p-failed", "Failed"), _job("p-done", "Complete")]
    selectors: list[str] = []
    deleted: list[str] = []

    def listed(_: str, label_selector: str) -> SimpleNamespace:
        selectors.append(label_selector)
        return SimpleNamespace(items=jobs)

    monkeypatch.setattr(engine.api, "batch", SimpleNamespace(list_namespaced_job=listed))
    monkeypatch.setattr(engine, "_delete_job", deleted.append)
    engine._delete_abandoned_jobs("p", "p-own")
    assert deleted == ["p-other"]
    labels = job_manifest("p-own", RunRequest("p", "p-1", "v", {}, key="k"), "image")["metadata"]["labels"]
    assert selectors == [f"{PIPELINE}={labels[PIPELINE]}"]


def test_follow_of_a_completed_job_without_a_result_deletes_it(
    engine: JobEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []
    monkeypatch.setattr(engine, "_read_job", lambda _: _job("p-1", "Complete"))
    monkeypatch.setattr(engine, "_delete_job", deleted.append)
    assert not engine._follow("p-1", RunRequest("p", "p-1", "v", {})).succeeded
    assert deleted == ["p-1"]


@pytest.mark.parametrize(
    "text",
    [
        "\rhttps://example.com/1.csv: 10%\rhttps://example.com/1.csv: 20%",
        "a\u2028wikipedia-2026-dump.xml.bz2",
    ],
    ids=["progress", "line-separator"],
)
def test_result_after_a_line_with_other_line_ends_is_found(text: str) -> None:
    result = encode_result({"state": "SUCCEEDED", "outputs": {}, "steps": [], "failed_step": None, "error": ""})
    texts = ("load: started", f"load: {text}", "load: SUCCEEDED in 1.0 s", result)
    log = "".join(f"2026-11-28T20:15:0{second}.000000001Z {each}\n" for second, each in enumerate(texts))
    assert list(PodLog().new_lines(log)) == list(texts)


@pytest.fixture
def loops(engine: JobEngine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> LoopJobs:
    """Return the Jobs of a run whose loop failed in the iterations 1 and 2: only that of iteration 1 has a result."""
    monkeypatch.setattr(PodLog, "read", lambda *_, **__: ["train:2: started", "train:2: reading"])
    job = SimpleNamespace(
        metadata=SimpleNamespace(name="p-k-1", uid="u"),
        status=SimpleNamespace(
            conditions=[SimpleNamespace(type="Failed", status="True")], failed_indexes=request.param
        ),
    )
    monkeypatch.setattr(engine.api, "none_if_missing", lambda _: job)
    pods = [_pod(0, 0), _pod(1, 3), _pod(2, 137)]
    monkeypatch.setattr(loop_jobs, "pods_of", lambda *_: pods)
    run = RunRequest("p", "p-1", "v", {}, key="k")
    return LoopJobs(engine.api, "n", run, "i", StepProgress(run, Path("/nowhere")), io.StringIO())


def _pod(index: int, code: int) -> SimpleNamespace:
    ended = SimpleNamespace(terminated=SimpleNamespace(exit_code=code, reason="OOMKilled"))
    return SimpleNamespace(
        metadata=SimpleNamespace(name=f"pod-{index}", annotations={loop_jobs.INDEX: str(index)}, creation_timestamp=1),
        status=SimpleNamespace(
            phase="Failed" if code else "Succeeded", container_statuses=[SimpleNamespace(state=ended)]
        ),
    )


@pytest.mark.parametrize("loops", ["1-2"], indirect=True)
def test_update_of_loop_jobs_names_the_iteration_that_has_no_result(loops: LoopJobs) -> None:
    step, error = loops.update(None, [LoopPods("1", 3, 3)]) or (None, "")
    assert step == "train:2"
    assert error.splitlines()[0] == "iteration 2 of a loop ended without a result: its pod was lost too often"
    assert "OOMKilled with exit code 137; its limits:" in error
    assert error.splitlines()[-1] == "train:2: reading"


@pytest.mark.parametrize("loops", ["1"], indirect=True)
def test_update_of_loop_jobs_leaves_a_reported_failure_to_the_run(loops: LoopJobs) -> None:
    assert loops.update(None, [LoopPods("1", 3, 3)]) is None


def test_workers_of_a_run_have_its_memory_and_labels() -> None:
    run = RunRequest("p", "p-1", "v", {"dask": {"workers": 3, "memory": "768Mi"}}, key="k")
    follower = PodFollower(StepProgress(run, Path("/nowhere")), io.StringIO())
    follower.process(['mlplatform-dask:{"address": "tcp://10.0.0.1:8786", "workers": 3, "memory": "768Mi"}'])
    assert follower.dask == DaskPods("tcp://10.0.0.1:8786", 3, "768Mi")
    job = SimpleNamespace(metadata=SimpleNamespace(name="p-k", uid="u"))
    made = dask_manifest("p-k-1", job, run, "image", follower.dask)
    template, (container,) = made["spec"]["template"], made["spec"]["template"]["spec"]["containers"]
    assert made["spec"]["completions"] == made["spec"]["parallelism"] == 3
    assert container["resources"]["limits"]["memory"] == "768Mi"
    assert "768MiB" in container["command"]
    assert template["metadata"]["labels"] == job_manifest("p-k", run, "image")["spec"]["template"]["metadata"]["labels"]
    assert template["metadata"]["labels"]["mlplatform/dask"] == "true"


@pytest.mark.parametrize(("text", "expected"), [(None, []), ("", []), ("2", [2]), ("1,3-5,7", [1, 3, 4, 5, 7])])
def test_indices_of_an_indexed_job(text: str | None, expected: list[int]) -> None:
    assert loop_jobs.indices(text) == expected


@pytest.mark.parametrize("body", ['{"message": "no such right"}', "<html>no such right</html>"])
def test_client_with_a_rejected_request_raises_the_message_of_the_response(body: str) -> None:
    refused = ApiException(status=403, reason="Forbidden")
    refused.body = body
    with pytest.raises(UserError, match=r"the cluster refuses this: .*no such right"):
        client._transient_reason(refused)
