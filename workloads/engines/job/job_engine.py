"""Engine in a cluster: one Kubernetes Job for each run, with the runner of the embedded engine.

Iterations of a loop run in the pods of an indexed Job.
"""

from __future__ import annotations

import gzip
import time
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pulumi
import yaml
from mlplatform.engine_config import JobEngineConfig
from mlplatform.job_namespace import PODS

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import age_seconds, waiting_reasons
from infra.retry import poll
from workloads.engines.base import Engine, RunRequest, RunResult, RunState
from workloads.engines.dag.package_support import require_support
from workloads.engines.job.dask_job import DaskJob
from workloads.engines.job.job_manifests import PACKAGE, PIPELINE, RUN_ID, job_manifest, secret_manifest
from workloads.engines.job.job_status import PENDING_SECONDS, condition, exits_with_limits, newest, pods_of
from workloads.engines.job.loop_jobs import LoopJobs
from workloads.engines.job.pod_follower import PodFollower
from workloads.engines.step_progress import StepProgress

POLL_SECONDS = 1.5
STOP_SECONDS = 300
"""Timeout for the cluster to stop a run that exceeded its own timeout, and to delete a Job."""
MAX_PACKAGE_BYTES = 1_000_000
"""Maximum size of a compressed package: a ConfigMap with all its fields may have 1 MiB."""


class JobEngine(Engine):
    """Engine with versions in ConfigMaps and runs in Jobs; the name of a Job contains the key of its run."""

    def __init__(self, config: JobEngineConfig[str]) -> None:
        self.api = KubernetesClient(config.kubeconfig)
        self.namespace, self.image = config.namespace, config.image
        self.runs = Path(config.directory) / "runs"

    def upload(self, pipeline: str, version: str, ir: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        """Store a package in a ConfigMap and return its name."""
        require_support(list(yaml.safe_load_all(ir)))
        name = f"{pipeline}-{version}"
        content = gzip.compress(ir.encode(), mtime=0)
        if len(content) > MAX_PACKAGE_BYTES:
            raise UserError(
                f"the compressed package of pipeline {pipeline} has {len(content)} bytes; the maximum is "
                f"{MAX_PACKAGE_BYTES}"
            )
        body = {
            "metadata": {"name": name, "labels": PODS},
            "binaryData": {PACKAGE: b64encode(content).decode()},
            "immutable": True,
        }
        self.api.none_if_exists(lambda: self.api.core.create_namespaced_config_map(self.namespace, body))
        return name

    def remove(self, version_id: str) -> None:
        """Delete the ConfigMap of a version."""
        self.api.none_if_missing(lambda: self.api.core.delete_namespaced_config_map(version_id, self.namespace))

    def find_resumable_run(self, pipeline: str, key: str) -> str | None:
        """Return the id of the run whose Job has this key and did not fail."""
        job = self._read_job(_job_name(pipeline, key))
        return job.metadata.annotations[RUN_ID] if job and not condition(job, "Failed") else None

    def run(self, request: RunRequest) -> RunResult:
        """Run a version in a Job, or resume its unfinished Job. An unfinished Job with other parameters is deleted."""
        name = _job_name(request.pipeline, request.key)
        manifest = job_manifest(name, request, self.image)
        self._delete_abandoned_jobs(request.pipeline, name)
        job = self._read_job(name)
        if job and job.metadata.annotations[RUN_ID] != request.run_id:
            self._delete_job(name)
            job = None
        if job is None:
            job = self.api.retry(lambda: self.api.batch.create_namespaced_job(self.namespace, manifest))
        elif not job.spec.suspend:
            pulumi.log.info(f"{request.pipeline}: resuming the run {request.run_id} of an earlier `up`")
        if job.spec.suspend:
            secret = secret_manifest(name, job.metadata.uid, request.secrets)
            self.api.none_if_exists(lambda: self.api.core.create_namespaced_secret(self.namespace, secret))
            start = {"spec": {"suspend": False}}
            self.api.retry(lambda: self.api.batch.patch_namespaced_job(name, self.namespace, start))
        result = self._follow(name, request)
        self.api.none_if_missing(lambda: self.api.core.delete_namespaced_secret(name, self.namespace))
        if result.succeeded:  # a failed Job stays for inspection until the next run
            self._delete_job(name)
        return result

    def _delete_abandoned_jobs(self, pipeline: str, name: str) -> None:
        """Delete the unfinished Jobs of a pipeline but one: an interrupted `up` left them."""
        listed = self.api.batch.list_namespaced_job
        for job in self.api.retry(lambda: listed(self.namespace, label_selector=f"{PIPELINE}={pipeline}")).items:
            if job.metadata.name == name or condition(job, "Complete") or condition(job, "Failed"):
                continue
            run_id = job.metadata.annotations[RUN_ID]
            pulumi.log.info(f"{pipeline}: stopping the run {run_id}, which an interrupted `up` left")
            self._delete_job(job.metadata.name)

    def _follow(self, name: str, request: RunRequest) -> RunResult:
        """Copy the log of a Job until it ends and return its result."""
        file = self.runs / request.run_id / "run.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 60 * request.timeout_minutes + STOP_SECONDS
        with file.open("w") as log, StepProgress(request, self.runs.parent) as progress:
            follower = PodFollower(progress, log)
            loops = LoopJobs(self.api, self.namespace, request, self.image, progress, log)
            dask = DaskJob(self.api, self.namespace, request, self.image)
            while True:
                job = self._read_job(name)
                if job is None:
                    raise UserError(
                        f"the Job {self.namespace}/{name} of pipeline {request.pipeline} was deleted during its run; "
                        "run `up` again"
                    )
                ended = condition(job, "Complete") or condition(job, "Failed")
                pod = self._newest_pod(job)
                if pod:
                    pod_log = follower.log_of(pod.metadata.name)
                    follower.process(pod_log.read(self.api, self.namespace, pod.metadata.name, ended=bool(ended)))
                if ended:
                    dask.delete()
                if ended and follower.result:
                    return RunResult.read(follower.result, str(file))
                if ended:
                    loops.delete()
                    if ended.type == "Complete":  # the next run would resume it
                        self._delete_job(name)
                    reason = f"the run ended without a result: {ended.reason or ended.type}: {ended.message}"
                    error = "\n".join([reason, *exits_with_limits(pod), *follower.last_lines])
                    return RunResult(RunState.FAILED, {}, [], str(file), None, error)
                self._require_start(job, pod)
                dask.update(job, follower.dask)
                if failure := loops.update(job, follower.loops.values()):
                    self._delete_job(name)
                    return RunResult(RunState.FAILED, {}, [], str(file), *failure)
                if time.monotonic() > deadline:
                    raise UserError(
                        f"the run {self.namespace}/{name} exceeded its timeout of {request.timeout_minutes} minutes, "
                        "and the cluster did not stop it; check the Job controller"
                    )
                time.sleep(POLL_SECONDS)

    def _require_start(self, job: Any, pod: Any) -> None:
        """Delete the Job of a pod that cannot start.

        Raises:
            UserError: the pod is pending for too long, with the reasons that the cluster reports.
        """
        if age_seconds(pod or job) < PENDING_SECONDS or (pod and pod.status.phase != "Pending"):
            return
        if reasons := list(dict.fromkeys(waiting_reasons(pod) if pod else self._warnings(job))):
            self._delete_job(job.metadata.name)
            raise UserError(f"the run {self.namespace}/{job.metadata.name} does not start: {'; '.join(reasons)}")

    def _warnings(self, job: Any) -> Iterator[str]:
        events = self.api.retry(lambda: self.api.core.list_namespaced_event(self.namespace)).items
        yield from (e.message for e in events if e.type == "Warning" and e.involved_object.uid == job.metadata.uid)

    def _read_job(self, name: str) -> Any:
        return self.api.none_if_missing(lambda: self.api.batch.read_namespaced_job(name, self.namespace))

    def _newest_pod(self, job: Any) -> Any:
        return newest(pods_of(self.api, job))

    def _delete_job(self, name: str) -> None:
        self.api.none_if_missing(
            lambda: self.api.batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")
        )
        if not poll(lambda: self._read_job(name) is None or None, timeout=STOP_SECONDS, interval=POLL_SECONDS):
            raise UserError(
                f"the Job {self.namespace}/{name} still exists {STOP_SECONDS} s after its deletion; check its "
                "finalizers and pods"
            )


def _job_name(pipeline: str, key: str) -> str:
    """Return the name of a run's Job and secret: at most 57 characters, of 63 that Kubernetes allows."""
    return f"{pipeline[:40]}-{key[:16]}"
