"""Pipelines in a cluster: kfp's local runner, the one of the embedded engine, in one Kubernetes Job a run."""

from __future__ import annotations

import gzip
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pulumi
from mlplatform.job_namespace import PODS

from infra.dynamic_provider import UserError
from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import exit_reasons, waiting_reasons
from workloads.engines.base import RunRequest, RunResult
from workloads.engines.job.manifests import PACKAGE, RESOURCES, RUN_ID, job_manifest, secret_manifest
from workloads.engines.job.pod_follower import Follower

POLL_SECONDS = 1.5
STUCK_SECONDS = 90
"""How long a pod may wait for what can come by itself, such as an image that the registry is slow to give."""
ENDING_SECONDS = 300
"""How long the cluster may take to end a run that has taken too long, and to remove one."""
LARGEST_PACKAGE = 1_000_000
"""Bytes; a ConfigMap takes 1 MiB with its own fields."""


class JobEngine:
    """Versions are ConfigMaps with the compressed package; runs are Jobs, named by what is run on what.

    Properties: `kubeconfig`, `namespace`, `image`, and `directory`, where logs are kept on this computer.
    """

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.api = KubernetesClient(properties["kubeconfig"])
        self.namespace, self.image = properties["namespace"], properties["image"]
        self.runs = Path(properties["directory"]) / "runs"

    def upload(self, pipeline: str, version: str, package: str, secrets: Sequence[str], timeout_minutes: int) -> str:
        name = f"{pipeline}-{version}"
        content = gzip.compress(package.encode(), mtime=0)
        if len(content) > LARGEST_PACKAGE:
            raise UserError(f"the package of pipeline {pipeline} has {len(content)} bytes compressed; 1 MB can be kept")
        body = {
            "metadata": {"name": name, "labels": PODS},
            "binaryData": {PACKAGE: b64encode(content).decode()},
            "immutable": True,
        }
        self.api.none_if_exists(lambda: self.api.core.create_namespaced_config_map(self.namespace, body))
        return name

    def remove(self, version_id: str) -> None:
        self.api.none_if_missing(lambda: self.api.core.delete_namespaced_config_map(version_id, self.namespace))

    def left_behind(self, pipeline: str, key: str) -> str | None:
        job = self._job(_name(pipeline, key))
        return job.metadata.annotations[RUN_ID] if job and not _condition(job, "Failed") else None

    def run(self, request: RunRequest) -> RunResult:
        name = _name(request.pipeline, request.key)
        job = self._job(name)
        if job and job.metadata.annotations[RUN_ID] != request.run_id:
            self._delete(name)
            job = None
        if job is None:
            manifest = job_manifest(name, request, self.image)
            job = self.api.retry(lambda: self.api.batch.create_namespaced_job(self.namespace, manifest))
        elif not job.spec.suspend:
            pulumi.log.info(f"{request.pipeline}: following the run {request.run_id}, which an earlier `up` began")
        if job.spec.suspend:
            secret = secret_manifest(name, job.metadata.uid, request.secrets)
            self.api.none_if_exists(lambda: self.api.core.create_namespaced_secret(self.namespace, secret))
            start = {"spec": {"suspend": False}}
            self.api.retry(lambda: self.api.batch.patch_namespaced_job(name, self.namespace, start))
        result = self._followed(name, request)
        self.api.none_if_missing(lambda: self.api.core.delete_namespaced_secret(name, self.namespace))
        if result.succeeded:  # one that failed can be looked at until it is run again
            self._delete(name)
        return result

    def _followed(self, name: str, request: RunRequest) -> RunResult:
        file = self.runs / request.run_id / "run.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 60 * request.timeout_minutes + ENDING_SECONDS
        with file.open("w") as log:
            follower = Follower(request.pipeline, log)
            while True:
                job = self._job(name)
                if job is None:
                    raise UserError(f"somebody deleted the Job {self.namespace}/{name} of pipeline {request.pipeline}")
                ended = _condition(job, "Complete") or _condition(job, "Failed")
                pod = self._newest_pod(job)
                if pod:
                    reading = pod.metadata.name
                    log_of_pod = follower.log_of(reading)
                    follower.take(log_of_pod.read(self.api, self.namespace, reading, ended=bool(ended)))
                if ended and follower.result:
                    return RunResult.read(follower.result, str(file))
                if ended:
                    why = f"the run ended without a result: {ended.reason or ended.type}: {ended.message}"
                    how = [f"{end}; its limits: {RESOURCES['limits']}" for end in exit_reasons(pod)] if pod else []
                    return RunResult("FAILED", {}, [], str(file), None, "\n".join([why, *how, *follower.last]))
                self._require_moving(job, pod)
                if time.monotonic() > deadline:
                    raise UserError(
                        f"the run {self.namespace}/{name} has taken more than {request.timeout_minutes} minutes, and "
                        "the cluster has not ended it"
                    )
                time.sleep(POLL_SECONDS)

    def _require_moving(self, job: Any, pod: Any) -> None:
        """Give up a run that cannot start.

        Raises:
            UserError: with what keeps it from starting, as the cluster says it.
        """
        age = time.time() - (pod or job).metadata.creation_timestamp.timestamp()
        if age < STUCK_SECONDS or (pod and pod.status.phase != "Pending"):
            return
        if why := list(dict.fromkeys(self._complaints(job, pod))):
            self._delete(job.metadata.name)
            raise UserError(f"the run {self.namespace}/{job.metadata.name} does not start: {'; '.join(why)}")

    def _complaints(self, job: Any, pod: Any) -> Iterator[str]:
        if pod is None:
            events = self.api.retry(lambda: self.api.core.list_namespaced_event(self.namespace)).items
            yield from (e.message for e in events if e.type == "Warning" and e.involved_object.uid == job.metadata.uid)
            return
        yield from waiting_reasons(pod)

    def _job(self, name: str) -> Any:
        return self.api.none_if_missing(lambda: self.api.batch.read_namespaced_job(name, self.namespace))

    def _newest_pod(self, job: Any) -> Any:
        own = f"batch.kubernetes.io/controller-uid={job.metadata.uid}"
        pods = self.api.retry(lambda: self.api.core.list_namespaced_pod(self.namespace, label_selector=own)).items
        return max(pods, key=lambda pod: pod.metadata.creation_timestamp, default=None)

    def _delete(self, name: str) -> None:
        self.api.none_if_missing(
            lambda: self.api.batch.delete_namespaced_job(name, self.namespace, propagation_policy="Background")
        )
        deadline = time.monotonic() + ENDING_SECONDS
        while self._job(name):
            if time.monotonic() > deadline:
                raise UserError(f"the Job {self.namespace}/{name} was deleted, and is there after {ENDING_SECONDS} s")
            time.sleep(POLL_SECONDS)


def _name(pipeline: str, key: str) -> str:
    """Of the Job, and of its secret: at most 63 characters."""
    return f"{pipeline[:40]}-{key[:16]}"


def _condition(job: Any, kind: str) -> Any:
    return next((c for c in job.status.conditions or [] if c.type == kind and c.status == "True"), None)
