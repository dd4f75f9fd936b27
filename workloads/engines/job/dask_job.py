"""Indexed Job of a run with the workers of Dask."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pulumi

from infra.kubernetes_client.client import KubernetesClient
from infra.kubernetes_client.pod_logs import age_seconds, waiting_reasons
from workloads.engines.base import RunRequest
from workloads.engines.job.job_manifests import dask_manifest
from workloads.engines.job.job_status import PENDING_SECONDS, pods_of
from workloads.engines.pod_dask import DaskPods


class DaskJob:
    """Workers of one run; a run that starts again in another pod gets other workers.

    Args:
        namespace: the namespace of the run.
        request: the run.
        image: the image of its pods.
    """

    def __init__(self, api: KubernetesClient, namespace: str, request: RunRequest, image: str) -> None:
        self._api, self._namespace = api, namespace
        self._request, self._image = request, image
        self._name = ""
        self._warnings: set[str] = set()

    def update(self, run_job: Any, pods: DaskPods | None) -> None:
        """Create the workers that the run requests, and warn of those that cannot start."""
        if pods is None:
            return
        digest = sha256(f"{self._request.run_id} {pods}".encode()).hexdigest()[:8]
        name = f"{self._request.pipeline[:25]}-{self._request.key[:16]}-{digest}"
        if name != self._name:
            self.delete()
            manifest = dask_manifest(name, run_job, self._request, self._image, pods)
            create = self._api.batch.create_namespaced_job
            self._api.none_if_exists(lambda: create(self._namespace, manifest))
            self._name = name
            return
        read = self._api.batch.read_namespaced_job
        job = self._api.none_if_missing(lambda: read(name, self._namespace))
        for pod in pods_of(self._api, job) if job else []:
            if pod.status.phase == "Pending" and age_seconds(pod) > PENDING_SECONDS:
                for reason in set(waiting_reasons(pod)) - self._warnings:
                    self._warnings.add(reason)
                    pulumi.log.warn(f"the worker {self._namespace}/{pod.metadata.name} waits: {reason}")

    def delete(self) -> None:
        """Delete the workers."""
        if self._name:
            delete = self._api.batch.delete_namespaced_job
            self._api.none_if_missing(lambda: delete(self._name, self._namespace, propagation_policy="Background"))
            self._name = ""
